// What the gateway has told the page of this installation, and what this browser keeps.

/**
 * @typedef {object} Shop
 * @property {string} name
 * @property {string | null} logo
 * @property {string} colour
 * @property {string | null} tax_line
 * @property {Record<string, string>} links
 * @property {string} stripe_js_url
 * @property {string[]} languages
 */

/** @type {Shop} */
export const shop = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("shop")).textContent ?? "");

/** The browser's storage; undefined where it lets pages keep nothing. */
export const storage = usable(() => localStorage);

/** A part of the tab's storage; undefined where it lets pages keep nothing. @param {string} name */
export function tabStorage(name) {
  const whole = usable(() => sessionStorage);
  return (
    whole && {
      getItem: (/** @type {string} */ key) => whole.getItem(`${name} ${key}`),
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => whole.setItem(`${name} ${key}`, value),
      removeItem: (/** @type {string} */ key) => whole.removeItem(`${name} ${key}`),
    }
  );
}

/** @param {() => Storage} find */
function usable(find) {
  try {
    find().setItem("shop test", "");
    find().removeItem("shop test");
    return find();
  } catch {
    return undefined;
  }
}

/** @param {string} name */
export const recall = (name) => storage?.getItem(`shop ${name}`) ?? null;

/** @param {string} name @param {string} value */
export const remember = (name, value) => storage?.setItem(`shop ${name}`, value);
