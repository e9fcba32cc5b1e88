// Making elements. Text goes in as text only, so that a class called "<script>" stays a name.

export const find = (id) => document.getElementById(id);

/** A new element; `properties` are its properties, `children` elements or text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** A class's name, apart from the direction in which the text around it runs; where it is too long it breaks after a "_". */
export function named(label, tag = "bdi") {
  const parts = label.split(/(?<=[_-])/).flatMap((part) => [element("wbr"), part]);
  return element(tag, { className: "name", dir: "auto", title: label }, ...parts.slice(1));
}

export function button(properties, press, ...children) {
  const made = element("button", { type: "button", ...properties }, ...children);
  made.addEventListener("click", press);
  return made;
}

export const key = (text) => element("kbd", {}, text);

/** Sets text only where it changes, so that a screen reader does not say it twice. */
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}
