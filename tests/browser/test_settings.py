"""Tokens, projects and members in the dashboard: made, shown once, taken back."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, expect

from db.access import Role
from tests.browser.dashboard import Dashboard, open_dashboard
from tests.browser.explorer import WAIT_S
from tests.conftest import Client, People, Server

WIDER = "({ scrollWidth, clientWidth }) => scrollWidth - clientWidth"
WHO = "{ viewer { name memberships { role project { name } } } }"


async def create_token(dashboard: Dashboard, name: str, role: str = "") -> str:
    """Make a token on the page; its secret, as the page shows it."""
    await dashboard.goto("/settings/tokens")
    await dashboard.page.get_by_label("what for").fill(name)
    await dashboard.page.get_by_label("may at most").select_option(role)
    await dashboard.page.get_by_role("button", name="Create").click()
    shown = dashboard.page.get_by_role("status", name="The new token")
    await expect(shown).to_contain_text("not shown again")
    return await shown.locator("pre").first.inner_text()


async def copied(dashboard: Dashboard, button: str) -> str:
    """What is in the clipboard once the button was pressed."""
    await dashboard.page.evaluate("() => navigator.clipboard.writeText('')")
    await dashboard.page.get_by_role("button", name=button).click()
    async with asyncio.timeout(WAIT_S):
        while not (text := str(await dashboard.page.evaluate("() => navigator.clipboard.readText()"))):
            await asyncio.sleep(0.05)
    return text


async def test_new_token_is_shown_once_and_works_until_it_is_revoked(
    dashboard: Dashboard, owner: Client, server: Server
) -> None:
    secret = await create_token(dashboard, "gpu-box-3")
    machine = Client(server, secret, owner.project)
    assert (await machine.ask(WHO))["viewer"]["memberships"][0]["role"] == "OWNER"
    assert await dashboard.violations() == []

    await dashboard.reload()
    await expect(dashboard.page.get_by_role("row").filter(has_text="gpu-box-3")).to_be_visible()
    await expect(dashboard.main()).not_to_contain_text(secret)
    await expect(dashboard.page.get_by_role("row").filter(has_text="gpu-box-3")).not_to_contain_text("not yet")

    await dashboard.page.get_by_role("button", name="Revoke gpu-box-3").click()
    await dashboard.page.get_by_role("button", name="Revoke it").click()
    await expect(dashboard.page.get_by_role("row").filter(has_text="gpu-box-3")).to_have_count(0)

    assert (await machine.refused(WHO))["extensions"]["code"] == "UNAUTHENTICATED"
    await machine.close()


async def test_new_token_does_no_more_than_it_was_made_for(dashboard: Dashboard, owner: Client, server: Server) -> None:
    reader = Client(server, await create_token(dashboard, "wall screen", "VIEWER"), owner.project)

    assert (await reader.ask(WHO))["viewer"]["memberships"][0]["role"] == "VIEWER"
    await reader.close()


async def test_secret_is_copied_with_a_script_that_uses_it(dashboard: Dashboard) -> None:
    secret = await create_token(dashboard, "copied")
    await dashboard.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    assert await copied(dashboard, "Copy the token") == secret
    script = await copied(dashboard, "Copy the script")
    assert len(script.splitlines()) == 6
    assert f"RUNSTONE_TOKEN={secret}" in script


async def test_project_is_made_and_its_name_is_taken(dashboard: Dashboard, owner: Client) -> None:
    await dashboard.goto("/settings/projects")
    form = dashboard.page.get_by_role("region", name="New project")
    name = f"{owner.project}-2"

    await form.get_by_label("name").fill(name)
    await form.get_by_role("button", name="Create").click()
    await expect(dashboard.page.get_by_role("region", name=f"Members of {name}", exact=True)).to_be_visible()

    await form.get_by_label("name").fill(name)
    await form.get_by_role("button", name="Create").click()
    await expect(form.get_by_role("alert")).to_be_visible()
    assert await dashboard.violations() == []


async def test_owner_lets_a_member_in_and_out(dashboard: Dashboard, owner: Client, stranger: Client) -> None:
    account = (await stranger.ask(WHO))["viewer"]["name"]
    await dashboard.goto("/settings/projects")
    members = dashboard.page.get_by_role("region", name=f"Members of {owner.project}", exact=True)

    await members.get_by_label("account").fill(account)
    await members.get_by_role("button", name="Let in").click()
    await expect(members.get_by_label(f"Role of {account}")).to_have_value("VIEWER")
    joined = (await stranger.ask(WHO))["viewer"]["memberships"]
    assert {"role": "VIEWER", "project": {"name": owner.project}} in joined

    await members.get_by_role("button", name=f"Remove {account}").click()
    await expect(members.get_by_label(f"Role of {account}")).to_have_count(0)
    left = (await stranger.ask(WHO))["viewer"]["memberships"]
    assert owner.project not in {membership["project"]["name"] for membership in left}


async def test_viewer_sees_members_and_no_way_to_change_them(browser: Browser, people: People, client: Client) -> None:
    viewer = await people.member(client.project, Role.VIEWER)

    async with open_dashboard(browser, viewer.server.url, viewer.token) as dashboard:
        await dashboard.goto("/settings/projects")
        members = dashboard.page.get_by_role("region", name=f"Members of {client.project}", exact=True)
        await expect(members.get_by_role("row")).to_have_count(3)
        await expect(members.get_by_role("button")).to_have_count(0)
        assert dashboard.complaints == []


@pytest.fixture
async def managing(browser: Browser, server: Server) -> AsyncIterator[Dashboard]:
    """The settings of who manages the instance. At the end: no foreign request and no complaint of the browser."""
    async with open_dashboard(browser, server.url, server.token) as opened:
        await opened.goto("/settings/accounts")
        yield opened
        assert opened.outside == []
        assert opened.complaints == []


async def let_in(dashboard: Dashboard, name: str) -> str:
    """Make an account on the page, an editor of the project `default`; the link that it shows."""
    form = dashboard.page.get_by_role("region", name="New account")
    await form.get_by_label("name").fill(name)
    await form.get_by_role("combobox", name="project").select_option("default")
    await form.get_by_role("button", name="Create").click()
    return await shown_link(dashboard, name)


async def shown_link(dashboard: Dashboard, name: str) -> str:
    shown = dashboard.page.get_by_role("status", name="The new access")
    await expect(shown).to_contain_text(f"Send {name} this link")
    link = await shown.locator("pre").inner_text()
    await shown.get_by_role("button", name="Done").click()
    return link


async def find(dashboard: Dashboard, name: str) -> Locator:
    """The only account that is left in the table."""
    await dashboard.page.get_by_label("Find accounts").press_sequentially(name)
    rows = dashboard.page.get_by_role("row").filter(has=dashboard.page.get_by_role("rowheader"))
    await expect(rows).to_have_count(1)
    return rows


async def test_link_of_a_new_account_opens_the_pages_for_whom_it_was_made(
    managing: Dashboard, browser: Browser
) -> None:
    name = f"bob {uuid.uuid4().hex[:8]}"

    link = await let_in(managing, name)

    assert await managing.violations() == []
    url, _, token = link.partition("/#token=")
    async with open_dashboard(browser, url, token) as bobs:
        await bobs.goto("/settings/projects")
        row = bobs.page.get_by_role("region", name="Members of default", exact=True).get_by_role("row", name=name)
        await expect(row).to_contain_text("editor")
        await expect(bobs.page.get_by_role("link", name="Accounts")).to_have_count(0)
        await bobs.goto("/settings/accounts")
        await expect(bobs.page.get_by_role("region", name="Table of tokens")).to_contain_text(
            "given by an administrator"
        )
        assert bobs.complaints == []


async def test_account_is_found_disabled_and_let_in_again(managing: Dashboard, server: Server) -> None:
    name = f"bob {uuid.uuid4().hex[:8]}"
    bob = Client(server, (await let_in(managing, name)).partition("=")[2], "default")
    row = await find(managing, name)

    await row.get_by_role("button", name=f"Disable {name}").click()
    await row.get_by_role("button", name=" it: ").click()
    await expect(row).to_contain_text("disabled")
    assert (await bob.refused(WHO))["extensions"]["code"] == "UNAUTHENTICATED"
    await row.get_by_role("button", name=f"Let in {name}").click()
    await expect(row.get_by_role("button", name=f"Disable {name}")).to_be_visible()

    assert (await bob.ask(WHO))["viewer"]["name"] == name
    await bob.close()


async def test_account_is_renamed(managing: Dashboard, server: Server) -> None:
    word = uuid.uuid4().hex[:8]
    bob = Client(server, (await let_in(managing, f"bob {word}")).partition("=")[2], "default")
    row = await find(managing, word)

    await row.get_by_role("button", name=f"Rename bob {word}").click()
    await row.get_by_label(f"New name of bob {word}").fill(f"robert {word}")
    await row.get_by_role("button", name="Save").click()

    await expect(row.get_by_role("rowheader")).to_contain_text(f"robert {word}")
    assert (await bob.ask(WHO))["viewer"]["name"] == f"robert {word}"
    await bob.close()


async def test_replaced_tokens_leave_the_link_that_is_shown(managing: Dashboard, server: Server) -> None:
    name = f"bob {uuid.uuid4().hex[:8]}"
    lost = Client(server, (await let_in(managing, name)).partition("=")[2], "default")
    row = await find(managing, name)

    await row.get_by_role("button", name=f"Replace tokens of {name}").click()
    await row.get_by_role("button", name=" it: ").click()
    new = Client(server, (await shown_link(managing, name)).partition("=")[2], "default")

    assert (await lost.refused(WHO))["extensions"]["code"] == "UNAUTHENTICATED"
    assert (await new.ask(WHO))["viewer"]["name"] == name
    await asyncio.gather(lost.close(), new.close())


async def test_name_that_is_taken_is_said_beside_the_form(managing: Dashboard) -> None:
    form = managing.page.get_by_role("region", name="New account")
    await form.get_by_label("name").fill("admin")
    await form.get_by_role("button", name="Create").click()
    await expect(form.get_by_role("alert")).to_have_text("another account has this name")
    assert await managing.violations() == []


async def test_a_narrow_window_scrolls_the_tokens_and_not_the_page(dashboard: Dashboard) -> None:
    await dashboard.page.set_viewport_size({"width": 390, "height": 800})
    await dashboard.goto("/settings/tokens")

    tokens = dashboard.page.get_by_role("region", name="Table of tokens")
    await expect(tokens).to_be_visible()

    assert await tokens.evaluate(WIDER) > 0
    assert await dashboard.page.locator("html").evaluate(WIDER) == 0
