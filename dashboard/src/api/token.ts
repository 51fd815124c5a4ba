/*
 * The token lives in sessionStorage: it survives a reload, ends with the tab, is not shared with other tabs and is not
 * kept on disk for the next person at this machine, all of which localStorage would do.
 */
const KEY = "runstone.token";

export function keptToken(): string | null {
  return sessionStorage.getItem(KEY);
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}
