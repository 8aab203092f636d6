// Charts as SVG. Each has beside it what it says in words or a table, so that it is hidden from screen readers.

import { h, svg } from "./dom.js";
import { number, t } from "./words.js";

/** @import * as Types from "../../clients/js/types.js" */

/** @param {readonly Types.OperatorsTicketType[]} types */
export function seatsOf(types) {
  /** @param {"sold" | "held" | "capacity" | "available"} name */
  const sum = (name) => types.reduce((total, each) => total + each[name], 0);
  return { sold: sum("sold"), held: sum("held"), capacity: sum("capacity"), available: sum("available") };
}

/**
 * Sold and held seats of a capacity, as parts of one bar.
 * @param {{ sold: number, held: number, capacity: number }} seats
 */
export function bar({ sold, held, capacity }) {
  /** @param {number} count */
  const share = (count) => `${capacity ? (100 * count) / capacity : 0}%`;
  return svg("svg", { "aria-hidden": "true" },
    svg("rect", { class: "sold", x: 0, width: share(sold), height: "100%" }),
    svg("rect", { class: "held", x: share(sold), width: share(held), height: "100%" }),
  );
}

/** A bar with its name and numbers in words. @param {any} name @param {{ sold: number, held: number, capacity: number, available: number }} seats */
export function namedBar(name, seats) {
  return h("div.bar", null,
    h("p.line", null, h("strong", null, name), h("span.small", null, t("desk.seats", { sold: number(seats.sold), held: number(seats.held), free: number(seats.available), capacity: number(seats.capacity) }))),
    bar(seats),
  );
}

/** What the colours of bars mean. */
export const legend = () => h("p.legend", { "aria-hidden": "true" }, ["sold", "held", "free"].map((each) => h("span", null, h(`i.${each}`), t(`desk.${each}`))));

const WIDTH = 600;
const HEIGHT = 180;

/**
 * How something has grown: a line from left to right.
 * @param {{ at: number, count: number }[]} points In the order of time, in milliseconds
 * @param {number} until The end of the time axis
 */
export function curve(points, until) {
  const from = points[0]?.at ?? until;
  const most = Math.max(1, ...points.map(({ count }) => count));
  const span = Math.max(1, until - from);
  /** @param {number} at */
  const x = (at) => Math.round(((at - from) / span) * WIDTH);
  /** @param {number} count */
  const y = (count) => Math.round(HEIGHT - (count / most) * (HEIGHT - 4) - 2);
  // Between two points nothing has changed: a step, no slope.
  const steps = points.map(({ at, count }, place) => (place ? `H${x(at)}V${y(count)}` : `M${x(at)},${y(count)}`)).join("");
  const line = `${steps}H${WIDTH}`;
  return svg("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...[0, 0.5, 1].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(most * part), y2: y(most * part) })),
    svg("path", { class: "area", d: `${line}V${HEIGHT}H0Z` }),
    svg("path", { class: "line", d: line }),
  );
}
