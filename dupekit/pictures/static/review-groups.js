// Groups of images that are looked at together: of one pair of classes, or all that the models say are one class, or all that are in one now.

/** What the images of a group have in common. */
const COMMON = { pair: ["given", "suggested"], suggested: ["suggested"], given: ["given"] };
const MANY = 6; // of a pair, from which on a page of one pair saves time

export const BY = Object.keys(COMMON);

/** The groups, the largest first; each image learns its own. `given` and `suggested` are null where its images differ in them. */
export function groupsOf(images, by) {
  const found = new Map();
  for (const image of images) {
    const common = Object.fromEntries(COMMON[by].map((which) => [which, image[which]]));
    const name = JSON.stringify(common);
    if (!found.has(name)) found.set(name, { given: null, suggested: null, ...common, numbers: [], open: 0 });
    const group = found.get(name);
    group.numbers.push(image.number);
    group.open += 1;
  }
  const groups = [...found.values()].sort((a, b) => b.numbers.length - a.numbers.length);
  groups.forEach((group, i) => group.numbers.forEach((n) => (images[n].groups[by] = i)));
  return groups;
}

/** By pair where the median image is in a pair of many; else by what the models say. */
function usual(review) {
  const inMany = review.groups.pair.map(({ numbers }) => numbers.length).filter((count) => count >= MANY);
  return 2 * inMany.reduce((sum, count) => sum + count, 0) >= review.size ? "pair" : "suggested";
}

const kept = (review) => `grouping of ${review.name}`;

/** How the images are grouped at first: as they were last in this tab of the browser, else as usual. */
export function firstGrouping(review) {
  let last = null;
  try {
    last = sessionStorage.getItem(kept(review));
  } catch {
    // a browser that keeps nothing for pages
  }
  return BY.includes(last) ? last : usual(review);
}

export function keepGrouping(review, by) {
  try {
    sessionStorage.setItem(kept(review), by);
  } catch {
    // a browser that keeps nothing for pages
  }
}
