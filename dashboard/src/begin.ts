/* The beginning of every page: small, so that it asks for the rows of a table while the rest of the code is on its way. */
import { takeFragment } from "./api/fragment";
import { keepToken, keptToken } from "./api/token";
import { askForRows } from "./table/ahead";

const { token: given } = takeFragment();
if (given !== null) {
  keepToken(given);
}
const token = keptToken();
if (token !== null) {
  void askForRows(token, location);
}
void import("./main");
