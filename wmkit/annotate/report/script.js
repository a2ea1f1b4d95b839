"use strict";
// Filter, search and sort the cards; without scripts all of them are shown, failed and worst first.
const list = document.getElementById("cards");
const cards = Array.from(list.children);
const search = document.getElementById("search");
const order = document.getElementById("order");
const shown = document.getElementById("shown");
const buttons = Array.from(document.querySelectorAll("[data-filter]"));
let outcome = "all";

function filterCards() {
  const words = search.value.trim().toLowerCase();
  let count = 0;
  for (const card of cards) {
    const fits = (outcome === "all" || card.dataset.status === outcome) && card.dataset.search.includes(words);
    card.hidden = !fits;
    count += fits ? 1 : 0;
  }
  shown.textContent = count === cards.length ? "" : count + " of " + cards.length + " shown";
}

const compare = {
  worst: (a, b) => a.dataset.place - b.dataset.place,
  name: (a, b) => (a.dataset.search < b.dataset.search ? -1 : 1),
  cost: (a, b) => b.dataset.cost - a.dataset.cost,
};

function choose(button) {
  outcome = button.dataset.filter;
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  filterCards();
}

for (const button of buttons) button.addEventListener("click", () => choose(button));
search.addEventListener("input", filterCards);
order.addEventListener("change", () => list.append(...cards.sort(compare[order.value])));

// report.html#failed opens with that filter, so that a link can point at it.
const asked = buttons.find((button) => "#" + button.dataset.filter === location.hash);
if (asked) choose(asked);
