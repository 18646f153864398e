'use strict';

/** The value below which this share of the sorted values lies. */
function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** Median, smallest and largest value; null if one is not known. */
function summary(values) {
  if (values.some((value) => value === null || value === undefined)) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1) };
}

/** The median, with the lowest and the highest if there are several; of small figures two decimals count. */
function shown(values) {
  const text = (value) => value.toFixed(Number.isInteger(value) || value >= 100 ? 0 : 2);
  const { median, min, max } = summary(values);
  return values.length === 1 ? text(median) : `${text(median)} (${text(min)}–${text(max)})`;
}

module.exports = { percentile, shown, summary };
