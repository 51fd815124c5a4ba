/** What `work` makes of an object, made once: the same object gives the very same again. */
export function remembering<From extends object, To>(work: (from: From) => To): (from: From) => To {
  const made = new WeakMap<From, To>();
  return (from) => {
    if (!made.has(from)) {
      made.set(from, work(from));
    }
    return made.get(from) as To;
  };
}
