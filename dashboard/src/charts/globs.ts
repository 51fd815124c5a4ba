/**
 * Whether a key is meant by a pattern, in which `*` stands for anything, `?` for one character, and all else for
 * itself.
 */
export function matches(pattern: string, key: string): boolean {
  return regexOf(pattern).test(key);
}

/**
 * The keys that any pattern means, in the order of the patterns, then of the keys; each once. Where `keys` are not all
 * that there are, a pattern that is a name means the key of that name.
 */
export function chosenKeys(patterns: readonly string[], keys: readonly string[], areAll = true): string[] {
  const chosen = new Set<string>();
  for (const pattern of patterns) {
    if (!areAll && !/[*?]/.test(pattern)) {
      chosen.add(pattern);
      continue;
    }
    const regex = regexOf(pattern);
    for (const key of keys) {
      if (regex.test(key)) {
        chosen.add(key);
      }
    }
  }
  return [...chosen];
}

function regexOf(pattern: string): RegExp {
  const literal = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${literal.replaceAll("*", ".*").replaceAll("?", ".")}$`, "su");
}
