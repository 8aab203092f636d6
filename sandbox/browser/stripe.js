// The sandbox's stand-in for Stripe.js: the functions that a page with the Payment Element uses, with a card form of
// its own and the step of 3D Secure. A page that works with it works with Stripe's own script, whose functions are
// at https://docs.stripe.com/js. Card numbers: https://docs.stripe.com/testing.

(() => {
  "use strict";

  const home = new URL(/** @type {any} */ (document.currentScript).src).origin;

  const WORDS = {
    en: {
      number: "Card number",
      expiry: "Expiry (MM / YY)",
      cvc: "Security code",
      cards: "Test cards",
      use: "Use",
      paid: "Paid at once",
      secure: "3D Secure",
      declined: "Declined",
      funds: "Insufficient funds",
      incomplete_number: "Your card number is incomplete.",
      incomplete_expiry: "Your card's expiration date is incomplete.",
      incomplete_cvc: "Your card's security code is incomplete.",
      challenge: "Your bank's page",
      test: "Sandbox: no real money moves.",
    },
    de: {
      number: "Kartennummer",
      expiry: "Gültig bis (MM / JJ)",
      cvc: "Prüfziffer",
      cards: "Testkarten",
      use: "Nehmen",
      paid: "Sofort bezahlt",
      secure: "3D Secure",
      declined: "Abgelehnt",
      funds: "Nicht gedeckt",
      incomplete_number: "Ihre Kartennummer ist unvollständig.",
      incomplete_expiry: "Das Ablaufdatum Ihrer Karte ist unvollständig.",
      incomplete_cvc: "Die Prüfziffer Ihrer Karte ist unvollständig.",
      challenge: "Seite Ihrer Bank",
      test: "Sandbox: Es fließt kein echtes Geld.",
    },
  };

  const CARDS = [
    ["4242424242424242", "paid"],
    ["4000000000003220", "secure"],
    ["4000000000000002", "declined"],
    ["4000000000009995", "funds"],
  ];

  const STYLE = `
    :host { display: block; }
    .form, .row { display: grid; gap: 12px; }
    .row { grid-template-columns: 1fr 1fr; align-items: end; }
    label { display: grid; gap: 4px; font: 500 0.93rem/1.4 var(--font); color: var(--text); }
    input { font: 1rem/1.4 var(--font); color: var(--text); background: var(--ground); border: 1px solid #85838c; border-radius: var(--radius);
      padding: 10px 12px; min-height: 46px; width: 100%; box-sizing: border-box; }
    input:focus-visible, button:focus-visible, summary:focus-visible { outline: 3px solid var(--primary); outline-offset: 2px; }
    input[aria-invalid] { border-color: var(--danger); }
    .wrong { color: var(--danger); font: 500 0.875rem/1.4 var(--font); margin: 0; }
    .wrong:empty { display: none; }
    p, summary, li { font: 0.875rem/1.4 var(--font); color: var(--text); margin: 0; }
    summary { cursor: pointer; padding: 8px 0; }
    ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px; }
    li { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: 8px; }
    button { font: inherit; color: var(--primary); background: none; border: 1px solid currentcolor; border-radius: var(--radius); min-height: 32px; padding: 2px 12px; cursor: pointer; }
  `;

  /** @param {string} tag @param {Record<string, any>} attributes @param {...(Node | string)} children @returns {any} */
  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** What `elements.create("payment")` makes. */
  class PaymentElement {
    /** @type {Record<string, ((event: any) => void)[]>} */
    #listeners = {};
    #host = element("div", {});
    #number;
    #expiry;
    #cvc;
    #wrong = element("p", { class: "wrong", role: "alert" });
    #words;

    /** @param {any} appearance @param {string} locale */
    constructor(appearance, locale) {
      this.#words = /** @type {any} */ (WORDS)[locale.slice(0, 2)] ?? WORDS.en;
      const words = this.#words;
      this.#number = element("input", {
        inputmode: "numeric",
        autocomplete: "cc-number",
        placeholder: "1234 1234 1234 1234",
        maxlength: "23",
      });
      this.#expiry = element("input", {
        inputmode: "numeric",
        autocomplete: "cc-exp",
        placeholder: "MM / YY",
        maxlength: "7",
      });
      this.#cvc = element("input", {
        inputmode: "numeric",
        autocomplete: "cc-csc",
        placeholder: "CVC",
        maxlength: "4",
      });
      this.#number.addEventListener("input", () =>
        this.#write(this.#number, digits(this.#number).replace(/(.{4})(?=.)/g, "$1 ")),
      );
      this.#expiry.addEventListener("input", () =>
        this.#write(
          this.#expiry,
          digits(this.#expiry)
            .slice(0, 4)
            .replace(/^(..)(?=.)/, "$1 / "),
        ),
      );
      this.#cvc.addEventListener("input", () => this.#write(this.#cvc, digits(this.#cvc)));
      // Enter sends the form of the page that is around this.
      this.#host.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        const [target] = event.composedPath();
        if (event.key === "Enter" && target instanceof HTMLInputElement) this.#host.closest("form")?.requestSubmit();
      });
      const root = this.#host.attachShadow({ mode: "open" });
      const style = new CSSStyleSheet();
      style.replaceSync(STYLE);
      root.adoptedStyleSheets = [style];
      root.append(this.#form(words));
      this.update({ appearance });
    }

    /** @param {any} words */
    #form(words) {
      const cards = CARDS.map(([number, kind]) => {
        const use = element("button", { type: "button", "aria-label": `${words.use}: ${number}` }, words.use);
        use.addEventListener("click", () => this.#fill(number));
        return element("li", {}, element("span", {}, `${number.replace(/(.{4})(?=.)/g, "$1 ")} · ${words[kind]}`), use);
      });
      const label = (/** @type {string} */ text, /** @type {any} */ input) => element("label", {}, text, input);
      // No form element: the page's own form is around this, and its button sends it.
      return element(
        "div",
        { class: "form" },
        label(words.number, this.#number),
        element("div", { class: "row" }, label(words.expiry, this.#expiry), label(words.cvc, this.#cvc)),
        this.#wrong,
        element("p", {}, words.test),
        element("details", {}, element("summary", {}, words.cards), element("ul", {}, ...cards)),
      );
    }

    /** @param {any} input @param {string} value */
    #write(input, value) {
      input.value = value;
      input.removeAttribute("aria-invalid");
      this.#wrong.textContent = "";
      this.#emit("change", {
        elementType: "payment",
        empty: !this.#number.value,
        complete: this.problem === null,
        value: { type: "card" },
      });
    }

    /** @param {string} number */
    #fill(number) {
      this.#write(this.#number, number.replace(/(.{4})(?=.)/g, "$1 "));
      this.#write(this.#expiry, `12 / ${String(new Date().getFullYear() + 2).slice(2)}`);
      this.#write(this.#cvc, "123");
    }

    /** @param {string} name @param {any} event */
    #emit(name, event) {
      for (const listener of this.#listeners[name] ?? []) listener(event);
    }

    /** @param {string} name @param {(event: any) => void} listener */
    on(name, listener) {
      (this.#listeners[name] ??= []).push(listener);
      return this;
    }

    /** @param {string | Element} place */
    mount(place) {
      const target = typeof place === "string" ? document.querySelector(place) : place;
      if (!target) throw new Error(`There is no element ${place} to mount the Payment Element to.`);
      target.replaceChildren(this.#host);
      queueMicrotask(() => this.#emit("ready", { elementType: "payment" }));
    }

    unmount() {
      this.#host.remove();
    }

    destroy() {
      this.#host.remove();
    }

    focus() {
      this.#number.focus();
    }

    /** @param {any} options */
    update({ appearance }) {
      const variables = {
        colorPrimary: "#0570de",
        colorBackground: "#ffffff",
        colorText: "#30313d",
        colorDanger: "#b3093c",
        fontFamily: "system-ui, sans-serif",
        borderRadius: "5px",
        ...appearance?.variables,
      };
      const names = {
        colorPrimary: "primary",
        colorBackground: "ground",
        colorText: "text",
        colorDanger: "danger",
        fontFamily: "font",
        borderRadius: "radius",
      };
      for (const [name, property] of Object.entries(names))
        this.#host.style.setProperty(`--${property}`, /** @type {any} */ (variables)[name]);
    }

    /** Which field is not complete; null: none. @returns {"number" | "expiry" | "cvc" | null} */
    get problem() {
      if (digits(this.#number).length < 14) return "number";
      if (digits(this.#expiry).length !== 4) return "expiry";
      return digits(this.#cvc).length < 3 ? "cvc" : null;
    }

    /** Shows which field is not complete, and returns Stripe.js's error for it; null: all are. */
    complain() {
      const { problem } = this;
      if (!problem) return null;
      const input = { number: this.#number, expiry: this.#expiry, cvc: this.#cvc }[problem];
      const message = this.#words[`incomplete_${problem}`];
      input.setAttribute("aria-invalid", "true");
      input.focus();
      this.#wrong.textContent = message;
      return { type: "validation_error", code: `incomplete_${problem}`, message };
    }

    /** As parameters of the API. */
    get method() {
      const expiry = digits(this.#expiry);
      return {
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": digits(this.#number),
        "payment_method_data[card][exp_month]": String(Number(expiry.slice(0, 2))),
        "payment_method_data[card][exp_year]": `20${expiry.slice(2)}`,
        "payment_method_data[card][cvc]": digits(this.#cvc),
      };
    }

    get challengeTitle() {
      return this.#words.challenge;
    }
  }

  /** @param {any} input */
  const digits = (input) => input.value.replace(/\D/g, "");

  /** The customer at the bank's page; resolves when that is over. @param {string} url @param {string} title @returns {Promise<void>} */
  function challenge(url, title) {
    return new Promise((resolve) => {
      const frame = element("iframe", { src: `${url}&embedded=1`, title });
      const dialog = element("dialog", { "aria-label": title }, frame);
      Object.assign(frame.style, {
        width: "min(26rem, 84vw)",
        height: "22rem",
        border: "0",
        background: "#fff",
        colorScheme: "light",
      });
      Object.assign(dialog.style, { padding: "0", border: "0", borderRadius: "14px", overflow: "hidden" });
      const end = () => {
        window.removeEventListener("message", answer);
        dialog.remove();
        resolve();
      };
      const answer = (/** @type {MessageEvent} */ event) => {
        if (event.origin === home && event.source === frame.contentWindow && event.data === "challenge over") end();
      };
      window.addEventListener("message", answer);
      dialog.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  /** @param {string} key A publishable key @param {{ locale?: string }} [options] */
  function Stripe(key, { locale = "en" } = {}) {
    if (!/^pk_test_/.test(key ?? "")) throw new Error("The sandbox takes a publishable test key, pk_test_….");

    /** One request of the API. @param {string} method @param {string} path @param {Record<string, string>} params */
    async function call(method, path, params) {
      const form = new URLSearchParams({ key, ...params });
      const url = `${home}/v1/${path}`;
      try {
        const response = await (method === "GET" ? fetch(`${url}?${form}`) : fetch(url, { method, body: form }));
        return await response.json();
      } catch {
        return {
          error: {
            type: "api_connection_error",
            message: "We are experiencing issues connecting to our payments provider.",
          },
        };
      }
    }

    const idOf = (/** @type {string} */ secret) => secret.split("_secret_")[0];

    /** @param {string} clientSecret */
    async function retrievePaymentIntent(clientSecret) {
      const answer = await call("GET", `payment_intents/${idOf(clientSecret)}`, { client_secret: clientSecret });
      return answer.error ? { error: answer.error } : { paymentIntent: answer };
    }

    /** @param {{ elements: any, clientSecret?: string, confirmParams?: { return_url?: string }, redirect?: "always" | "if_required" }} given */
    async function confirmPayment({
      elements,
      clientSecret = elements.clientSecret,
      confirmParams = {},
      redirect = "always",
    }) {
      const { payment } = elements;
      if (!payment) throw new Error("Create the Payment Element and mount it before you confirm the payment.");
      const incomplete = payment.complain();
      if (incomplete) return { error: incomplete };
      const intent = await call("POST", `payment_intents/${idOf(clientSecret)}/confirm`, {
        client_secret: clientSecret,
        use_stripe_sdk: "true",
        ...(confirmParams.return_url && { return_url: confirmParams.return_url }),
        ...payment.method,
      });
      if (intent.error) return { error: intent.error };
      if (intent.status === "requires_action")
        await challenge(intent.next_action.use_stripe_sdk.stripe_js, payment.challengeTitle);
      const { paymentIntent, error } = await retrievePaymentIntent(clientSecret);
      if (error) return { error };
      if (paymentIntent.last_payment_error)
        return { error: { ...paymentIntent.last_payment_error, payment_intent: paymentIntent } };
      if (redirect === "if_required" || !confirmParams.return_url) return { paymentIntent };
      const back = new URL(confirmParams.return_url);
      back.searchParams.set("payment_intent", paymentIntent.id);
      back.searchParams.set("payment_intent_client_secret", clientSecret);
      back.searchParams.set("redirect_status", "succeeded");
      location.assign(back);
      return new Promise(() => {});
    }

    /** @param {{ clientSecret: string, appearance?: any, locale?: string }} options */
    function elements({ clientSecret, appearance = {}, ...more }) {
      const made = {
        clientSecret,
        /** @type {PaymentElement | null} */
        payment: null,
        /** @param {string} type */
        create(type) {
          if (type !== "payment") throw new Error(`The sandbox has the Payment Element alone, and not: ${type}.`);
          made.payment = new PaymentElement(appearance, more.locale ?? locale);
          return made.payment;
        },
        /** @param {string} type */
        getElement: (type) => (type === "payment" ? made.payment : null),
        /** @param {any} options */
        update: (options) => made.payment?.update(options),
        submit: async () => {
          const error = made.payment?.complain();
          return error ? { error } : { selectedPaymentMethod: "card" };
        },
      };
      return made;
    }

    return { elements, confirmPayment, retrievePaymentIntent };
  }

  /** @type {any} */ (window).Stripe = Stripe;
})();
