// What Node.js has, of which the tools bring no types.
declare const process: {
  argv: string[];
  stdin: AsyncIterable<{ toString(): string }> & { destroy(): void };
};

/** The gateway, and a token of an operator. */
export const [url, operatorsToken] = process.argv.slice(2) as [string, string];

/** Waits for a line: the test has paid. */
export async function line(): Promise<void> {
  for await (const _ of process.stdin) break;
  process.stdin.destroy();
}

/** The value, if there is one. */
export function there<T>(value: T | undefined, error: unknown): T {
  if (value === undefined) throw new Error(JSON.stringify(error));
  return value;
}
