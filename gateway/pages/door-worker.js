// Lets the page of the door open without a network: keeps the page and the files of its own release.

/** All that the page loads: of what it has loaded already nothing says what comes later, as the reader of QR codes. */
const FILES = [
  "dom.js", "door-answer.js", "door-camera.js", "door-code.js", "door-lookup.js", "door-scanner.js",
  "door-signal.js", "door-store.js", "door-view.js", "door.css", "door.js", "holdfast.js", "icon.svg", "messages/de.json",
  "messages/door.de.json", "messages/door.en.json", "messages/en.json", "page.js", "pages.css", "qr/decode.js",
  "qr/index.js", "shop.js", "words.js",
];
const PAGE = "/door";
/** `/pages/{release}/`: where this file is. */
const FOLDER = new URL(".", location.href).pathname;
const PREFIX = "door ";
const CACHE = PREFIX + FOLDER;
/** For how long people wait for a page that may be newer. */
const WAIT_MS = 3000;

const worker = /** @type {any} */ (globalThis);

worker.addEventListener("install", (/** @type {any} */ event) => {
  worker.skipWaiting();
  event.waitUntil(fill());
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
  event.waitUntil(Promise.all([tidy(), worker.clients.claim()]));
});

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin) return;
  if (event.request.mode === "navigate") event.respondWith(page(event.request));
  else if (pathname.startsWith("/pages/")) event.respondWith(file(event.request));
});

async function fill() {
  const cache = await caches.open(CACHE);
  await Promise.all(FILES.map(async (name) => {
    const response = await fetch(FOLDER + name);
    // While gateways are replaced one of another release may answer: then the next visit tries again.
    if (!isKept(response)) throw new Error(`${name} is not of this release`);
    await cache.put(FOLDER + name, response);
  }));
  const response = await fetch(PAGE);
  const text = await response.clone().text();
  if (!text.includes(FOLDER)) throw new Error("the page is of another release");
  await cache.put(PAGE, response);
}

/** A page of the release before may still be open: its files stay. */
async function tidy() {
  const ours = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(ours.slice(0, -1).map((name) => caches.delete(name)));
}

/** The newest page, or the one that is here where it does not come soon. @param {Request} request */
async function page(request) {
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(WAIT_MS) });
    if (response.status < 500) return response;
  } catch {
    // no network
  }
  return (await (await caches.open(CACHE)).match(PAGE, { ignoreVary: true })) ?? Response.error();
}

/** @param {Request} request */
async function file(request) {
  const kept = await caches.match(request, { ignoreVary: true });
  if (kept) return kept;
  const response = await fetch(request);
  // The organiser's logo is in no list.
  if (isKept(response) && new URL(request.url).pathname.startsWith(FOLDER)) await (await caches.open(CACHE)).put(request, response.clone());
  return response;
}

/** Whether it is a file of the release that its address names. @param {Response} response */
const isKept = (response) => response.ok && /immutable/.test(response.headers.get("Cache-Control") ?? "");
