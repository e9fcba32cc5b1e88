/* Small parts that everything else is built of. Text is only ever set as text. */
const SVG = "http://www.w3.org/2000/svg";

/** The element of this id in the page. */
function byId(id) {
  return document.getElementById(id);
}

/** A new element with attributes (those that are null are left out) and children, elements or text. */
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same, of SVG. */
function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function button(text, click, attributes = {}) {
  const made = make("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", click);
  return made;
}

/** As in "5,261". */
function count(number) {
  return number.toLocaleString("en");
}

/** As in "1 suspect" and "5,261 suspects". */
function counted(number, noun, several = `${noun}s`) {
  return number === 1 ? `1 ${noun}` : `${count(number)} ${several}`;
}

/** As in "84 %"; what is neither none nor all is not rounded to these. */
function percent(share, digits = 0) {
  if (share === null) return "–";
  const text = (share * 100).toFixed(digits);
  if (share > 0 && Number(text) === 0) return `<${(10 ** -digits).toFixed(digits)} %`;
  if (share < 1 && Number(text) === 100) return `>${(100 - 10 ** -digits).toFixed(digits)} %`;
  return `${text} %`;
}

/** A bar for a share, with its number. */
function shareBar(share, kind, digits = 0) {
  const bar = make("span", { class: `meter ${kind}`, "aria-hidden": "true" }, make("span"));
  bar.firstChild.style.width = `${Math.round((share ?? 0) * 1000) / 10}%`;
  return make("span", { class: "measured" }, bar, make("span", { class: "number" }, percent(share, digits)));
}

/** A table whose columns are {name, hint, text(row) or cell(row), number, sort(row)}; those with `sort` sort it by a click. */
function table(columns, rows, { caption = null, click = null } = {}) {
  const body = make("tbody");
  const heads = columns.map((column) => make("th", { scope: "col", class: column.number ? "number" : null, title: column.hint }));
  let sorted = null;
  const fill = () => body.replaceChildren(...rows.map((row) => rowOf(columns, row, click)));
  columns.forEach((column, at) => {
    if (!column.sort) return heads[at].append(column.name);
    heads[at].append(button(column.name, () => {
      const down = sorted === null || sorted.at !== at ? Boolean(column.number) : !sorted.down;
      sorted = { at, down };
      rows = [...rows].sort((a, b) => (down ? -1 : 1) * compare(column.sort(a), column.sort(b)));
      heads.forEach((head, i) => head.setAttribute("aria-sort", i === at ? (down ? "descending" : "ascending") : "none"));
      fill();
    }, { class: "sort" }));
  });
  fill();
  return make("table", { class: "data" }, caption ? make("caption", {}, caption) : null,
    make("thead", {}, make("tr", {}, ...heads)), body);
}

function rowOf(columns, row, click) {
  const cells = columns.map((column) => make("td", { class: [column.number ? "number" : "", column.kind ?? ""].join(" ").trim() || null },
    column.cell ? column.cell(row) : String(column.text(row))));
  const made = make("tr", { class: click ? "link" : null }, ...cells);
  if (click) made.addEventListener("click", () => click(row));
  return made;
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}
