// How fast the work goes: images a minute of working time, from the time at which their number changed.

const PAUSE_S = 600; // a longer time without a change is a pause, and does not count
const LEAST_S = 60; // of work, before a pace is told

export class Pace {
  #decided;
  #changedS = null;
  #paced = 0;
  #workedS = 0;

  constructor(decided) {
    this.#decided = decided;
  }

  reached(decided, atS) {
    const step = decided - this.#decided;
    if (!step) return;
    this.#decided = decided;
    const gap = this.#changedS === null ? Infinity : atS - this.#changedS;
    if (gap <= PAUSE_S) {
      this.#paced += step;
      this.#workedS += gap;
    }
    this.#changedS = atS;
  }

  /** Rounded images a minute, and working time for what is open; both null while that cannot be told. */
  pace(open) {
    const perMinute = this.#workedS >= LEAST_S && this.#paced > 0 ? (this.#paced * 60) / this.#workedS : null;
    if (perMinute === null || !open) return { perMinute: null, leftS: null };
    return { perMinute: Math.max(1, Math.round(perMinute)), leftS: (open * 60) / perMinute };
  }
}
