// Elements, made without any text becoming markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * A new element. Of the attributes functions are listeners (`onclick`), `true` is an attribute without a value, and
 * `false`, `null` and `undefined` are left out.
 * @param {string} tag With classes, as "p.lead.wide"
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElement(name), classes, attributes, children);
}

/** @param {string} tag @param {Record<string, any>} attributes @param {...Child} children @returns {any} */
export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), [], attributes, children);
}

/** @param {Element} element @param {string[]} classes @param {any} attributes @param {any[]} children */
function filled(element, classes, attributes, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Says something to those who do not see the page. @param {string} text */
export function say(text) {
  const said = /** @type {HTMLElement} */ (document.getElementById("said"));
  said.textContent = "";
  setTimeout(() => {
    said.textContent = text;
  }, 50); // a change of the element is what is read out
}

/**
 * A notice: what happened, and what to do now.
 * @param {"info" | "good" | "warning" | "bad"} kind
 * @param {string} title
 * @param {...Child} more
 */
export function notice(kind, title, ...more) {
  const role = kind === "bad" || kind === "warning" ? "alert" : "status";
  return h(`div.notice.${kind}`, { role }, h("strong", null, title), ...more.map((each) => h("div", null, each)));
}

/**
 * A button that does something that takes a while: meanwhile it cannot be pressed again.
 * @param {string} label
 * @param {(button: any) => unknown} act
 * @param {string} [classes]
 */
export function button(label, act, classes = "secondary") {
  const made = h(`button.button.${classes}`, { type: "button" }, label);
  made.addEventListener("click", () => busy(made, () => act(made)));
  return made;
}

/** @param {any} pressed @param {() => unknown} act */
export async function busy(pressed, act) {
  if (pressed.getAttribute("aria-disabled") === "true") return;
  pressed.setAttribute("aria-disabled", "true");
  pressed.classList.add("busy");
  try {
    await act();
  } finally {
    pressed.removeAttribute("aria-disabled");
    pressed.classList.remove("busy");
  }
}

/**
 * Asks before something that cannot be undone.
 * @param {string} title
 * @param {string} text
 * @param {string} yes
 * @param {string} no
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, yes, no) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog.dialog",
      { "aria-labelledby": "dialog-title", onclose: () => resolve(dialog.returnValue === "yes") },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "dialog-title" }, title),
        h("p", null, text),
        h(
          "div.actions",
          null,
          h("button.button.danger", { value: "yes" }, yes),
          h("button.button.secondary", { value: "no", autofocus: true }, no),
        ),
      ),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  });
}

let fields = 0;

/**
 * A labelled field with a place for what is wrong with it.
 * @param {string} label
 * @param {Record<string, any>} attributes Of the input
 * @param {string} [hint]
 * @param {"input" | "textarea" | "select"} [tag]
 */
export function field(label, attributes, hint, tag = "input") {
  const id = `field-${++fields}`;
  const input = h(tag, { id, "aria-describedby": `${id}-about`, ...attributes });
  const about = h("div.about", { id: `${id}-about` }, hint ?? "");
  /** @param {string} [problem] */
  const show = (problem) => {
    about.textContent = problem ?? hint ?? "";
    about.classList.toggle("wrong", Boolean(problem));
    if (problem) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  input.addEventListener("input", () => show());
  const element = h("div.field", null, h("label", { for: id }, label), input, about);
  return { element, input, show };
}
