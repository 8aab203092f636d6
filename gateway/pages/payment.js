// Stripe's Payment Element, as https://docs.stripe.com/payments/quickstart has it. Card data goes to Stripe alone.

import { h } from "./dom.js";
import { shop } from "./shop.js";
import { language } from "./words.js";

/** @type {Promise<any> | null} */
let loading = null;

/** Stripe's script, once. It comes from Stripe, and is never kept by a shop. */
function script() {
  loading ??= new Promise((resolve, reject) => {
    const element = h("script", { src: shop.stripe_js_url });
    element.addEventListener("load", () => resolve(/** @type {any} */ (window).Stripe));
    element.addEventListener("error", () => {
      loading = null;
      element.remove();
      reject(new Error("Stripe's script did not load"));
    });
    document.head.append(element);
  });
  return loading;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function appearance() {
  const style = getComputedStyle(document.documentElement);
  const token = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    theme: dark.matches ? "night" : "stripe",
    variables: {
      colorPrimary: token("--brand-text"),
      colorBackground: token("--field"),
      colorText: token("--text"),
      colorDanger: token("--bad"),
      fontFamily: "system-ui, sans-serif",
      borderRadius: token("--radius"),
    },
  };
}

/**
 * Puts the Payment Element into `place`; resolves once it can be used.
 * @param {HTMLElement} place
 * @param {{ publishable_key?: string | null, client_secret: string }} intent
 * @returns {Promise<(returnUrl: string) => Promise<any>>} Pays; what it resolves with is the error, if there is one.
 */
export async function paymentElement(place, { publishable_key, client_secret }) {
  if (!publishable_key) throw new Error("STRIPE_PUBLISHABLE_KEY is not set");
  const Stripe = await script();
  const stripe = Stripe(publishable_key, { locale: language });
  const elements = stripe.elements({ clientSecret: client_secret, appearance: appearance() });
  dark.addEventListener("change", () => elements.update({ appearance: appearance() }));
  const element = elements.create("payment", { layout: "tabs" });
  await new Promise((resolve, reject) => {
    element.on("ready", resolve);
    element.on("loaderror", (/** @type {any} */ { error }) =>
      reject(new Error(error?.message ?? "The Payment Element did not load")),
    );
    element.mount(place);
  });
  return async (returnUrl) => {
    const { error } = await stripe.confirmPayment({
      elements,
      confirmParams: { return_url: returnUrl },
      redirect: "if_required",
    });
    return error;
  };
}
