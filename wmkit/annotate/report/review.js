"use strict";
// How many of N clips a person must look at: the page's calculator, in a file of its own so that a test can call it.

function logFactorial(n) {
  let sum = 0;
  if (n < 16) {
    for (let factor = 2; factor <= n; factor++) sum += Math.log(factor);
    return sum;
  }
  // Stirling's series; the first term left out is 1/(1680 n^7), below 3e-12 from 16 on.
  return (n + 0.5) * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * n) - 1 / (360 * n ** 3) + 1 / (1260 * n ** 5);
}

function logChoose(n, k) {
  return logFactorial(n) - logFactorial(k) - logFactorial(n - k);
}

// P(at most `found` wrong among `drawn`), of `total` clips of which `wrong` are: drawn without putting back.
function chanceOfSoFew(found, drawn, wrong, total) {
  const fewest = Math.max(0, drawn - (total - wrong));
  const whole = logChoose(total, drawn);
  let chance = 0;
  for (let k = fewest; k <= Math.min(found, wrong, drawn); k++) {
    chance += Math.exp(logChoose(wrong, k) + logChoose(total - wrong, drawn - k) - whole);
  }
  return chance;
}

// The smallest sample in which `found` or fewer wrong ones are unlikely if more than `bound` of all are; null: none is.
function sampleFor(found, total, bound, doubt) {
  const wrong = Math.floor(bound * total) + 1;
  if (wrong > total || wrong <= found) return null;
  let low = found + 1;
  let high = total;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (chanceOfSoFew(found, middle, wrong, total) <= doubt) high = middle;
    else low = middle + 1;
  }
  return low;
}

// {drawn, allowed}: the smallest sample that still proves `bound` when the share `expected` of it is found wrong.
// The sample grows with what is allowed, so allowing less than its expected share can be skipped over.
function reviewSize(total, bound, doubt, expected) {
  let allowed = 0;
  for (;;) {
    const drawn = sampleFor(allowed, total, bound, doubt);
    if (drawn === null) return null;
    const due = Math.ceil(expected * drawn - 1e-9);
    if (due <= allowed) return { drawn, allowed };
    allowed = due;
  }
}

// Of endlessly many clips, none found wrong: (1 - bound)^n <= doubt.
function zeroFailureSize(bound, doubt) {
  return Math.ceil(Math.log(doubt) / Math.log(1 - bound) - 1e-9);
}
