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
export const storage = (() => {
  try {
    localStorage.setItem("shop test", "");
    localStorage.removeItem("shop test");
    return localStorage;
  } catch {
    return undefined;
  }
})();

/** @param {string} name */
export const recall = (name) => storage?.getItem(`shop ${name}`) ?? null;

/** @param {string} name @param {string} value */
export const remember = (name, value) => storage?.setItem(`shop ${name}`, value);
