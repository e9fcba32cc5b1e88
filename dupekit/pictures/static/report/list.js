/* The list of suspects: only what can be seen is in the page, however long it is. */
const CARD = { width: 590, height: 334, gap: 14 };
const AHEAD = 2;

const list = byId("list");
const cards = new Map();
list.dataset.empty = SUSPECTS.length ? "No suspect is left by these filters." : "No image is a suspect.";
let columns = 1;
let cardHeight = CARD.height;

/** Shows what the filters leave, from the card `state.at` on. */
function showList() {
  shown = filtered();
  state.at = Math.min(state.at, Math.max(shown.length - 1, 0));
  byId("left").textContent = shown.length === SUSPECTS.length ? counted(shown.length, "suspect")
    : `${count(shown.length)} of ${counted(SUSPECTS.length, "suspect")}`;
  byId("clear").hidden = !["given", "suggested", "low", "high", "verdict", "text"].some((name) => state[name] !== FRESH[name]);
  emptyList();
  layOut();
  select(state.at, { focus: false, top: true });
}

function emptyList() {
  for (const made of cards.values()) made.remove();
  cards.clear();
}

/** Places for the cards: as many columns as there is room for. */
function layOut() {
  const before = columns;
  columns = Math.max(1, Math.floor((list.clientWidth + CARD.gap) / (CARD.width + CARD.gap)));
  list.style.height = `${Math.max(Math.ceil(shown.length / columns) * (cardHeight + CARD.gap), 80)}px`;
  list.classList.toggle("empty", !shown.length);
  if (before !== columns) emptyList();
  paint();
}

/** Makes the cards that can be seen, and some ahead; removes the others. */
function paint() {
  if (state.view !== "suspects") return;
  const step = cardHeight + CARD.gap;
  const above = Math.max(-list.getBoundingClientRect().top, 0);
  const first = Math.max(Math.floor(above / step) - AHEAD, 0) * columns;
  const end = Math.min((Math.ceil((above + innerHeight) / step) + AHEAD) * columns, shown.length);
  for (const [place, made] of cards) {
    if (place < first || place >= end) {
      made.remove();
      cards.delete(place);
    }
  }
  const width = (list.clientWidth - (columns - 1) * CARD.gap) / columns;
  for (let place = first; place < end; place += 1) {
    let made = cards.get(place);
    if (!made) {
      made = card(shown[place], place);
      made.classList.toggle("current", place === state.at);
      cards.set(place, made);
      list.append(made);
    }
    made.style.width = `${width}px`;
    made.style.transform = `translate(${(place % columns) * (width + CARD.gap)}px, ${Math.floor(place / columns) * step}px)`;
  }
}

/** Makes a card the current one and brings it into sight; `top` puts it at the top, unless it is the first. */
function select(place, { focus = true, scroll = true, top = false } = {}) {
  cards.get(state.at)?.classList.remove("current");
  state.at = Math.max(0, Math.min(place, shown.length - 1));
  if (scroll) scrollToCard(state.at, top);
  paint();
  const made = cards.get(state.at);
  made?.classList.add("current");
  if (focus) made?.focus({ preventScroll: true });
  laterAddress();
}

function scrollToCard(place, top) {
  const step = cardHeight + CARD.gap;
  const head = document.querySelector(".top").offsetHeight + CARD.gap;
  const start = list.getBoundingClientRect().top + scrollY + Math.floor(place / columns) * step;
  const from = scrollY + head, to = scrollY + innerHeight;
  if (top) scrollTo(0, place ? start - head : 0);
  else if (start < from) scrollTo(0, start - head);
  else if (start + cardHeight > to) scrollTo(0, start + cardHeight + CARD.gap - innerHeight);
}

/** Cards that fit on the screen, in whole rows. */
function screenful() {
  const room = innerHeight - document.querySelector(".top").offsetHeight;
  return Math.max(1, Math.floor(room / (cardHeight + CARD.gap))) * columns;
}

let addressDue = 0;

/** Writes the address soon: browsers allow it only so often. */
function laterAddress() {
  clearTimeout(addressDue);
  addressDue = setTimeout(writeAddress, 250);
}

let painting = false;

addEventListener("scroll", () => {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    paint();
  });
}, { passive: true });

new ResizeObserver(() => {
  if (state.view === "suspects") layOut();
}).observe(list);
