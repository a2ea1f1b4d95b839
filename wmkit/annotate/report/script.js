// Follows review.js on the page.

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

// The calculator; without scripts its form stays hidden and the table below it speaks.
const form = document.getElementById("review");
const answer = document.getElementById("review-answer");

function calculate() {
  const given = (name) => Number(form.elements[name].value);
  const [total, bound, sure, expected] = [given("clips"), given("bound") / 100, given("sure") / 100, given("expected") / 100];
  const fits = Number.isInteger(total) && total > 0 && bound > 0 && bound < 1 && sure > 0 && sure < 1 && expected >= 0;
  if (!fits) {
    answer.textContent = "Expected a whole number of clips, and percentages between 0 and 100.";
    return;
  }
  if (expected >= bound) {
    answer.textContent = "No sample can say so: as many or more wrong ones are expected as may be.";
    return;
  }
  const words = (count) => count.toLocaleString("en-US");
  const size = reviewSize(total, bound, 1 - sure, expected);
  if (size === null) {
    answer.textContent = "Not even a review of all " + words(total) + " clips can say so.";
    return;
  }
  const allowed = size.allowed === 0 ? "none of them is" : "at most " + words(size.allowed) + (size.allowed === 1 ? " is" : " are");
  answer.textContent =
    "Review " + words(size.drawn) + " clips; it holds if " + allowed + " found wrong. " +
    "Of endlessly many clips, with none wrong: ln " + (1 - sure).toPrecision(2) + " / ln(1 − " + bound.toPrecision(2) + ") = " +
    words(zeroFailureSize(bound, 1 - sure)) + ".";
}

form.hidden = false;
form.addEventListener("input", calculate);
form.addEventListener("submit", (event) => event.preventDefault());
calculate();

// A link to a card must not lead to one that the filter hides.
for (const link of document.querySelectorAll('a[href^="#clip-"]')) {
  link.addEventListener("click", () => {
    search.value = "";
    choose(buttons[0]);
  });
}
