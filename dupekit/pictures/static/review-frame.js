// What stands around the images: buttons, filters, how far the work is, the end, and what was done last.

import { button, element, find, key, named, say } from "./review-dom.js";
import { KEYS } from "./review-keys.js";
import { DECISIONS, EACH, GROUPINGS, KINDS, decisions, images, number, time } from "./review-words.js";

const MODES = { one: "One by one", grid: "Grid" };

export class Frame {
  constructor(page) {
    this.page = page;
    this.review = page.review;
    say(find("tree"), this.review.name);
    document.title = `${this.review.name}: checking the images`;
    this.#makeButtons();
    this.#makeFilters();
    this.#makeHelp();
    page.deciding.addEventListener("note", ({ detail }) => this.note(detail));
    page.deciding.addEventListener("recent", () => this.#recent());
    this.#recent();
  }

  /** Says in the line at the bottom what was done. */
  note({ text, warn = false }) {
    const where = find("status");
    where.className = warn ? "warn" : "";
    where.textContent = "";
    where.textContent = text;
  }

  /** For another way of working. */
  arrange() {
    const { mode } = this.page;
    for (const [name, item] of Object.entries(MODES)) find(`mode-${name}`).setAttribute("aria-pressed", String(name === mode));
    const hints = KEYS.filter((entry) => entry.hint && (entry.where ?? mode) === mode);
    find("hints").replaceChildren(...hints.map((entry) => element("span", {}, key(entry.show ?? entry.keys[0]), ` ${entry.hint}`)));
    for (const by of Object.keys(GROUPINGS)) find(`by-${by}`).setAttribute("aria-pressed", String(by === this.page.grid.filter.by));
    this.#offerGroups();
    this.refresh();
  }

  /** Everything that a decision, or another image, can change. */
  refresh() {
    const { page, review } = this;
    find("one").hidden = page.ended || page.mode !== "one";
    find("grid").hidden = page.ended || page.mode !== "grid";
    find("end").hidden = !page.ended;
    document.body.dataset.mode = page.ended ? "end" : page.mode;
    this.#progress();
    this.#decisions();
    const { kind, group } = page.view.filter;
    find("filter-verdict").value = kind;
    find("filter-group").value = group === null ? "" : String(group);
    find("stretch").setAttribute("aria-pressed", String(page.picture.stretched));
    if (page.ended) this.#end();
  }

  #progress() {
    const { page, review } = this;
    const [decided, size] = [number(review.decided), number(review.size)];
    const isOne = page.mode === "one" && !page.ended;
    say(find("position"), isOne ? `${number(page.one.current + 1)} of ${size}, ${decided} decided` : `${decided} of ${size} decided`);
    const { per_hour: perHour, left_s: leftS } = page.pace;
    say(find("pace"), perHour && leftS ? `about ${Math.max(1, Math.round(perHour / 60))} a minute, some ${time(leftS)} left` : "");
    const bar = find("progress");
    bar.setAttribute("aria-valuemax", review.size);
    bar.setAttribute("aria-valuenow", review.decided);
    for (const part of bar.children) part.style.flexGrow = review.counts[part.dataset.kind];
  }

  #decisions() {
    const { page, review } = this;
    const { by, group } = page.grid.filter;
    const { given, suggested } = page.mode === "one" && page.one.current !== null ? review.images[page.one.current] : review.groups[by][group];
    const now = page.mode === "one" && !page.ended ? review.shown[page.one.current] : null;
    const of = { right: given ?? EACH.right.short, suggested: suggested ?? EACH.suggested.short, class: now?.kind === "moved" ? now.label : "" };
    for (const [decision, { kind }] of Object.entries(DECISIONS)) {
      const item = find(`decide-${decision}`);
      if (of[decision] !== undefined) {
        say(item.lastChild, of[decision]);
        item.lastChild.title = of[decision];
      }
      item.setAttribute("aria-pressed", String(kind === now?.kind));
      item.disabled = page.ended;
    }
  }

  #recent() {
    const { deciding, acts } = this.page;
    find("recent").replaceChildren(...deciding.recent.flatMap((label, i) =>
      label === null ? [] : [button({ className: "plain" }, () => acts.recent(i + 1), key(String(i + 1)), " ", named(label))]));
  }

  #makeButtons() {
    const { acts } = this.page;
    find("modes").append(...Object.entries(MODES).map(([mode, words]) =>
      button({ id: `mode-${mode}` }, () => this.page.mode !== mode && this.page.setMode(mode), words)));
    find("groupings").append(...Object.entries(GROUPINGS).map(([by, { words, title }]) =>
      button({ id: `by-${by}`, title }, () => this.page.groupBy(by), words)));
    find("decisions").append(
      ...Object.entries(DECISIONS).map(([decision, { words, key: name, kind }]) =>
        button({ id: `decide-${decision}`, className: KINDS[kind].colour }, () => acts[decision](),
          key(name), element("span", { className: "words" }, words), element("bdi", { className: "name target", dir: "auto" }))),
      button({ id: "undo", className: "plain" }, () => acts.undo(), key("z"), element("span", { className: "words" }, "Take back")),
      button({ id: "next", className: "plain" }, () => acts.open(), key("n"), element("span", { className: "words" }, "Next open")),
    );
    const view = [["smaller", "−", "Smaller (-)"], ["fit", "Fit", "Fit (0)"], ["larger", "+", "Larger (+)"], ["stretch", "Contrast", "Contrast (s)"]];
    find("view").append(...view.map(([act, words, title]) =>
      button({ id: act, title, "aria-label": title }, () => acts[act](), words)));
    find("page-before").addEventListener("click", () => acts.pageBefore());
    find("page-after").addEventListener("click", () => acts.pageAfter());
    find("help-button").addEventListener("click", () => acts.help());
    find("cells").addEventListener("dblclick", (event) => {
      const cell = event.target.closest("[data-number]");
      if (cell) this.page.setMode("one", Number(cell.dataset.number));
    });
    find("progress").append(...Object.keys(KINDS).filter((kind) => kind !== "open").concat("open").map((kind) => {
      const part = element("span", { className: KINDS[kind].colour });
      part.dataset.kind = kind;
      return part;
    }));
    find("end-buttons").append(
      button({}, () => this.page.look(), "Look through them again"),
      button({}, () => acts.undo(), key("z"), " Take back"),
    );
  }

  #makeFilters() {
    const kinds = find("filter-verdict");
    kinds.append(element("option", { value: "all" }, "all images"));
    kinds.append(...Object.entries(KINDS).map(([kind, { words }]) => element("option", { value: kind }, words)));
    const groups = find("filter-group");
    for (const select of [kinds, groups]) {
      select.addEventListener("change", () => {
        select.blur(); // the keys are the page's again
        this.page.setFilter({ kind: kinds.value, group: groups.value === "" ? null : Number(groups.value) });
      });
    }
  }

  /** The groups to choose from: in the grid those that it shows, one by one the pairs, or all. */
  #offerGroups() {
    const select = find("filter-group");
    const { by } = this.page.view.filter;
    if (select.dataset.by !== by) {
      const { one, name } = GROUPINGS[by];
      select.dataset.by = by;
      select.setAttribute("aria-label", one);
      select.replaceChildren(element("option", { value: "" }, "all pairs"), ...this.review.groups[by].map((group, i) =>
        element("option", { value: String(i) }, `${name(group)} (${number(group.numbers.length)})`)));
    }
    select.options[0].hidden = select.options[0].disabled = this.page.mode === "grid";
  }

  #makeHelp() {
    const places = { both: "Always", one: "One by one", grid: "In the grid" };
    find("help-keys").append(...Object.entries(places).map(([place, title]) => element("section", {}, element("h3", {}, title),
      element("dl", {}, ...KEYS.filter((entry) => (entry.where ?? "both") === place).flatMap((entry) => [
        element("dt", {}, key(entry.show ?? entry.keys[0])), element("dd", {}, entry.words),
      ])))));
    find("help").querySelector("button").addEventListener("click", () => find("help").close());
  }

  #end() {
    const { counts, size } = this.review;
    say(find("end-title"), `All ${images(size)} are decided.`);
    const { held } = this.page.server;
    say(find("end-text"), held ? `Wait a moment: ${decisions(held)} still to be saved.` : "Tell the person who gave you the work. You can close this page. Nothing is lost.");
    find("end-counts").replaceChildren(...Object.entries(KINDS).filter(([kind]) => counts[kind]).flatMap(([kind, { words, colour }]) => [
      element("dt", {}, element("span", { className: `verdict ${colour}` }, words)),
      element("dd", { className: "number" }, number(counts[kind])),
    ]));
  }
}
