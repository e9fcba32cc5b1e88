// Decisions: shown at once, sent in order, taken back without limit. An image that somebody else decided meanwhile is not overwritten.

import { images, verdictWords } from "./review-words.js";
import { kindOf } from "./review-model.js";

const RECENT = 5;

/** Tells of "note" (detail: text, warn), "undone" (detail: numbers) and "recent". */
export class Deciding extends EventTarget {
  recent = []; // each class keeps its number as long as it is among them
  #used = new Set(); // classes, the one chosen last at the end
  #client = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  #done = [];

  constructor(review, server) {
    super();
    this.review = review;
    this.server = server;
  }

  /** Decides on images; `label` for the decision "class". Returns whether there was anything to do. */
  decide(numbers, decision, label = null) {
    if (label !== null) this.remember(label);
    const outcomes = this.#outcomes(numbers, decision, label);
    if (!outcomes.length) return false;
    const before = outcomes.map(([n]) => [n, this.review.shown[n].verdict, this.review.shown[n].label]);
    const action = { id: null, before, outcomes };
    this.#done.push(action);
    this.review.expect(outcomes);
    this.#note(`${this.#of(outcomes)}. z takes it back.`);
    const body = {
      client: this.#client,
      numbers: outcomes.map(([n]) => n),
      decision,
      ...(decision === "class" && { label }),
      seen: before.map(([, verdict, was]) => [verdict, was]),
    };
    this.#send("decide", () => body, outcomes, (answer) => {
      if (label !== null) this.#correct(label, answer?.moved[0]?.[2]);
      action.id = answer?.moved.length ? answer.action : null;
      if (action.id === null) this.#done = this.#done.filter((other) => other !== action);
    });
    return true;
  }

  /** Takes the last decision of this page back. */
  undo() {
    const action = this.#done.pop();
    if (!action) {
      this.#note("There is nothing more to take back.");
      return;
    }
    const still = action.before.filter((_, i) => {
      const [n, verdict, label] = action.outcomes[i];
      return this.review.shown[n].verdict === verdict && this.review.shown[n].label === label;
    });
    this.review.expect(still);
    this.#note(`Taken back: ${still.length === 1 ? `image ${still[0][0] + 1}` : images(still.length)}.`);
    this.#send("undo", () => action.id && { client: this.#client, action: action.id }, still, (answer) => this.#remained(still, answer));
    this.dispatchEvent(new CustomEvent("undone", { detail: still.map(([n]) => n) }));
  }

  /** News of the server: shown, and said where somebody else did it. */
  hear(news) {
    const changed = this.review.follow(news.changes);
    if (!changed.length || news.by === this.#client) return;
    const [first] = changed;
    const { kind, label, present } = this.review.shown[first];
    const who = present ? "Somebody else" : "Deleted in the file manager";
    this.#note(changed.length === 1
      ? `${who}: image ${first + 1}, ${verdictWords(kind, label)}.`
      : `${who}: ${images(changed.length)} changed.`);
  }

  /** What a decision makes of each image that it changes. */
  #outcomes(numbers, decision, label) {
    const of = { right: "correct", suggested: "relabel", class: "relabel", expunge: "expunge", unsure: "unsure" };
    const outcomes = numbers.filter((n) => this.review.shown[n].present).map((n) => {
      const image = this.review.images[n];
      const own = { suggested: image.suggested, class: label }[decision] ?? image.given;
      return [n, decision === "class" && own === image.given ? "correct" : of[decision], own]; // the class that it is in: the label is right
    });
    return outcomes.filter(([n, verdict, own]) => {
      const shown = this.review.shown[n];
      return shown.verdict !== verdict || shown.label !== own;
    });
  }

  #send(address, body, expected, after = () => {}) {
    const numbers = expected.map(([n]) => n);
    const answered = (answer) => {
      const { moved, refused } = answer ?? { moved: [], refused: [] };
      this.review.answered(numbers, [...moved, ...refused.map((r) => [r.number, r.verdict, r.label])]);
      after(answer);
      this.#refused(refused, expected);
    };
    const refused = (error) => {
      this.review.answered(numbers, []);
      after(null);
      this.#note(`That could not be done. ${error.message}`, true);
    };
    this.server.send(address, body, answered, refused);
  }

  /** Says which images remain as they were before the decision that was to be taken back: somebody had decided so already. */
  #remained(still, answer) {
    if (!answer) return;
    const told = new Set([...answer.moved.map(([n]) => n), ...answer.refused.map((r) => r.number)]);
    const rest = still.filter(([n]) => !told.has(n));
    if (!rest.length) return;
    const which = rest.length === 1 ? `Image ${rest[0][0] + 1} was` : `${images(rest.length)} were`;
    this.#note(`${which} not taken back: decided so already, before you did.`, true);
  }

  /** Says what was refused, but for what has come true anyway: an answer that was lost on its way. */
  #refused(refused, expected) {
    const wanted = new Map(expected.map(([n, verdict, label]) => [n, `${verdict} ${label}`]));
    const real = refused.filter((r) => wanted.get(r.number) !== `${r.verdict} ${r.label}`);
    if (!real.length) return;
    const [{ number: n, reason, verdict, label }] = real;
    const now = verdictWords(kindOf(this.review.images[n], verdict, label), label);
    const more = real.length > 1 ? ` The same for ${images(real.length - 1)} more.` : "";
    this.#note(`Image ${n + 1} was not changed: ${reason} It is now: ${now}.${more}`, true);
  }

  /** Among the classes chosen last. */
  remember(label) {
    this.#used.delete(label);
    this.#used.add(label);
    if (!this.recent.includes(label)) {
      const last = [...this.#used].find((other) => this.recent.includes(other));
      const free = this.recent.indexOf(null);
      const place = free >= 0 ? free : this.recent.length < RECENT ? this.recent.length : this.recent.indexOf(last);
      this.recent[place] = label;
    }
    this.dispatchEvent(new Event("recent"));
  }

  /** What was chosen may be no class, or `really` be spelt otherwise. The others keep their numbers. */
  #correct(label, really) {
    if (this.review.classes.includes(label)) return;
    this.#used.delete(label);
    this.recent = this.recent.map((other) => (other === label ? null : other));
    if (really !== undefined) this.remember(really);
    else this.dispatchEvent(new Event("recent"));
  }

  #of(outcomes) {
    const words = new Set(outcomes.map(([n, verdict, label]) => verdictWords(kindOf(this.review.images[n], verdict, label), label)));
    const [[n, , label]] = outcomes;
    const said = words.size === 1 ? [...words][0] : `now ${label}`; // for some their own label or suggestion, for others neither
    return `${outcomes.length === 1 ? `Image ${n + 1}` : images(outcomes.length)}: ${said}`;
  }

  #note(text, warn = false) {
    this.dispatchEvent(new CustomEvent("note", { detail: { text, warn } }));
  }
}
