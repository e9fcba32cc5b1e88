/* What the review found, in numbers: histograms, yield by rank, rounds; and how the report was made. */
const CHART = { width: 640, height: 220, left: 46, bottom: 40, top: 10 };

/** A histogram of all images and of the suspects among them; counts on a logarithmic scale, since most images are no suspects. */
function histogram({ edges, images, suspects }, label, tickOf) {
  const largest = Math.max(1, ...images), decades = Math.ceil(Math.log10(largest + 1));
  const inner = { width: CHART.width - CHART.left - 8, height: CHART.height - CHART.top - CHART.bottom };
  const height = (n) => (n ? (Math.log10(n + 1) / decades) * inner.height : 0);
  const step = inner.width / Math.max(images.length, 1), base = CHART.top + inner.height;
  const bar = (n, i, kind) => draw("rect", { class: kind, x: CHART.left + i * step + 0.5, width: Math.max(step - 1.5, 1), y: base - height(n), height: height(n) },
    draw("title", {}, `${tickOf(edges, i, true)}: ${counted(images[i], "image")}, ${counted(suspects[i], "suspect")}`));
  const grid = [];
  for (let power = 0; power <= decades; power += 1) {
    const n = 10 ** power, y = base - height(n - (power === decades ? 1 : 0));
    if (power < decades || decades === 1) grid.push(draw("line", { class: "grid", x1: CHART.left, x2: CHART.width - 8, y1: y, y2: y }),
      draw("text", { x: CHART.left - 6, y: y + 4, "text-anchor": "end" }, count(n)));
  }
  const every = Math.ceil(images.length / 12);
  const ticks = images.map((_, i) => (i % every ? null : draw("text", { x: CHART.left + (i + 0.5) * step, y: base + 16, "text-anchor": "middle" }, tickOf(edges, i, false))));
  return draw("svg", { class: "chart", viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": label }, ...grid,
    ...images.map((n, i) => bar(n, i, "images")), ...suspects.map((n, i) => bar(n, i, "suspects")), ...ticks,
    draw("text", { x: CHART.left + inner.width / 2, y: CHART.height - 7, "text-anchor": "middle" }, label));
}

/** The share wrong from the most suspicious on; ranks that nobody looked at stay empty. */
function byRank(rows) {
  const inner = { width: CHART.width - CHART.left - 8, height: CHART.height - CHART.top - CHART.bottom };
  const step = inner.width / rows.length, base = CHART.top + inner.height;
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => {
    const y = base - share * inner.height;
    return [draw("line", { class: "grid", x1: CHART.left, x2: CHART.width - 8, y1: y, y2: y }),
      draw("text", { x: CHART.left - 6, y: y + 4, "text-anchor": "end" }, percent(share))];
  });
  const bars = rows.flatMap((row, i) => [
    draw("rect", { class: "suspects", x: CHART.left + i * step + 2, width: step - 4, y: base - (row.share ?? 0) * inner.height, height: (row.share ?? 0) * inner.height },
      draw("title", {}, `${count(row.from_rank)} to ${count(row.to_rank)}: ${count(row.wrong)} of ${count(row.reviewed)} wrong`)),
    draw("text", { x: CHART.left + (i + 0.5) * step, y: base + 16, "text-anchor": "middle" }, `to ${count(row.to_rank)}`)]);
  return draw("svg", { class: "chart", viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": "Share wrong by rank" },
    ...grid, ...bars, draw("text", { x: CHART.left + inner.width / 2, y: CHART.height - 7, "text-anchor": "middle" }, "rank, most suspicious first"));
}

function shareTable(rows, heading) {
  return table([
    { name: heading, kind: "name", text: (row) => row.what },
    { name: "reviewed", number: true, text: (row) => count(row.reviewed), sort: (row) => row.reviewed },
    { name: "wrong", number: true, text: (row) => count(row.wrong), sort: (row) => row.wrong },
    { name: "share", number: true, cell: (row) => shareBar(row.wrong / row.reviewed, "suggested"), sort: (row) => row.wrong / row.reviewed },
  ], rows);
}

function panel(heading, ...children) {
  return make("div", { class: "panel" }, make("h2", {}, heading), make("div", { class: "scroller" }, ...children.filter(Boolean)));
}

function buildReview(section) {
  const voteTick = (edges, i) => String(Math.round(edges[i] + 0.5));
  const scoreTick = (edges, i, whole) => (whole ? `${edges[i].toFixed(1)} to ${edges[i + 1].toFixed(1)}` : edges[i].toFixed(1));
  const key = () => make("p", { class: "quiet legend" }, make("span", { class: "step" }, make("i", { class: "images" }), "all images"),
    make("span", { class: "step" }, make("i", { class: "suspects" }), "suspects"), make("span", {}, "logarithmic scale"));
  const review = DATA.review;
  section.append(
    panel("What the review has found", make("p", {}, review ? review.words : "Nothing has been reviewed in this round yet."),
      review && review.rows.length ? byRank(review.rows) : null,
      review && review.rows.length ? table([
        { name: "rank", text: (row) => `${count(row.from_rank)} to ${count(row.to_rank)}` },
        { name: "reviewed", number: true, text: (row) => count(row.reviewed) },
        { name: "wrong", number: true, text: (row) => count(row.wrong) },
        { name: "share", number: true, text: (row) => percent(row.share) },
      ], review.rows) : null),
    panel("Rounds", roundsTable()),
    panel("Votes", histogram(DATA.votes, "votes for the suggested class", voteTick), key()),
    panel("Scores", histogram(DATA.scores, "score: above 0 the models together prefer another class", scoreTick), key()));
  if (DATA.byVotes.length) section.append(panel("Found wrong, by votes", shareTable(DATA.byVotes, "votes")));
  if (DATA.byPair.length) section.append(panel("Found wrong, by class pair", shareTable(DATA.byPair, "now in → the models say")));
}

function roundsTable() {
  return table([
    { name: "round", number: true, text: (row) => row.round },
    { name: "images", number: true, text: (row) => count(row.images) },
    { name: "pairs", number: true, text: (row) => row.pairs },
    { name: "rule", text: (row) => row.rule },
    { name: "suspects", number: true, text: (row) => count(row.suspects) },
    { name: "reviewed", number: true, text: (row) => count(row.reviewed) },
    { name: "wrong", number: true, text: (row) => count(row.wrong) },
    { name: "share", number: true, text: (row) => percent(row.share) },
    { name: "agree", hint: "of the models with the given labels", number: true, text: (row) => percent(row.agreement, 1) },
  ], DATA.rounds);
}

function buildAbout(section) {
  for (const [heading, rows] of DATA.facts) {
    section.append(panel(heading, table([{ name: "", kind: "what", text: ([name]) => name }, { name: "", kind: "name", text: ([, value]) => value }], rows)));
  }
}
