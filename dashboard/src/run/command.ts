const SAFE = /^[\w@%+=:,./-]+$/;

const quoted = (word: string) => (SAFE.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

/** The command that started an attempt, as a shell takes it; null when nothing is known of it. */
export function commandOf({ entryPoint, argv }: { entryPoint: string | null; argv: readonly string[] | null }): string | null {
  if (entryPoint === null && !argv?.length) {
    return null;
  }
  const [program = "", ...rest] = argv ?? [];
  return ["python", entryPoint ?? quoted(program), ...rest.map(quoted)].join(" ");
}
