"""Tokens, projects and members in the dashboard: made, shown once, taken back."""

import asyncio

from playwright.async_api import Browser, expect

from db.access import Role
from tests.browser.dashboard import Dashboard, open_dashboard
from tests.browser.explorer import WAIT_S
from tests.conftest import Client, People, Server

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

    await dashboard.page.reload()
    await expect(dashboard.page.get_by_role("row").filter(has_text="gpu-box-3")).to_be_visible()
    await expect(dashboard.main()).not_to_contain_text(secret)

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
