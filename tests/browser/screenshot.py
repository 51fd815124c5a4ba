"""Save a picture of GraphiQL with an operation and its answer.

    python -P -m tests.browser.screenshot --url http://127.0.0.1:4747 --token rs_... \
        --query compare.graphql --variables compare.json --out docs/images/graphiql.png
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Literal

from tests.browser.explorer import open_browser, open_explorer


async def save(options: argparse.Namespace) -> None:
    variables = json.loads(options.variables.read_text()) if options.variables else None
    colours: Literal["light", "dark"] = "dark" if options.dark else "light"
    async with (
        open_browser() as browser,
        open_explorer(browser, options.url, width=options.width, height=options.height, colours=colours) as explorer,
    ):
        await explorer.open(options.token, options.query.read_text(), variables)
        if not options.examples:
            await explorer.page.get_by_role("button", name="Hide Examples").click()
        await explorer.run(options.operation)
        await explorer.page.mouse.move(options.width - 4, options.height - 4)
        await explorer.page.wait_for_timeout(500)  # for colours and tooltips to settle
        options.out.parent.mkdir(parents=True, exist_ok=True)
        await explorer.page.screenshot(path=options.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--query", required=True, type=Path, help="a file with the document")
    parser.add_argument("--variables", type=Path, help="a JSON file")
    parser.add_argument("--operation", help="which operation, if the document holds several")
    parser.add_argument("--out", required=True, type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--examples", action="store_true", help="leave the panel of the examples open")
    asyncio.run(save(parser.parse_args()))


if __name__ == "__main__":
    main()
