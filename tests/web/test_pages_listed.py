"""Every page with its permission: a page that is not listed here, or needs something else, is a mistake."""

import pytest
from house import House

from bridge.accounts import ROLES, May, permissions
from bridge.web.shell import routes_of

PAGES = """
GET  /                                 signed-in
GET  /sign-in                          everybody
POST /sign-in                          everybody
GET  /sign-in/code                     second-step
POST /sign-in/code                     second-step
POST /sign-out                         session
POST /session                          signed-in
GET  /set-up/{secret}                  everybody
POST /set-up/{secret}                  everybody
GET  /set-up/second-step               setting-up
POST /set-up/second-step               setting-up
GET  /account                          signed-in
GET  /account/password                 signed-in
POST /account/password                 signed-in
POST /account/sessions/end             signed-in
POST /away                             locked
GET  /away                             locked
GET  /away/back                        locked
POST /away/back                        locked
GET  /help                             everybody
GET  /help/accessibility               everybody
GET  /help/information                 everybody
POST /language                         everybody
GET  /send                             send
POST /send                             send
POST /send/draft                       send
POST /send/areas                       send
POST /send/again                       send
GET  /send/stop                        send
POST /send/stop                        send
GET  /send/area                        send
POST /send/area                        send
GET  /send/check                       send
POST /send/check                       send
GET  /send/not                         send
POST /send/not                         send
GET  /send/decisions                   send
GET  /send/decisions.json              send
GET  /send/decisions.csv               send
GET  /send/decisions/{id}              send
GET  /sent                             send
GET  /sent.json                        send
GET  /sent.csv                         send
GET  /sent/{ref}                       send
GET  /sent/{ref}/live                  send
GET  /sent/{ref}/receipts              send
POST /sent/{ref}/print                 send
POST /sent/{ref}/attend                send
POST /sent/{ref}/answer                send
GET  /sent/{ref}/withdraw              send
POST /sent/{ref}/withdraw              send
GET  /sent/{ref}/send-on               send
POST /sent/{ref}/send-on               send
GET  /sent/{ref}/correct               send
POST /sent/{ref}/correct               send
POST /sent/{ref}/correct/draft         send
GET  /sent/{ref}/correct/stop          send
POST /sent/{ref}/correct/stop          send
GET  /sent/{ref}/correct/area          send
POST /sent/{ref}/correct/area          send
GET  /sent/{ref}/correct/check         send
POST /sent/{ref}/correct/check         send
GET  /inbox                            receive
GET  /inbox.json                       receive
GET  /inbox.csv                        receive
GET  /inbox/live                       receive
GET  /inbox/{ref}                      receive
GET  /inbox/{ref}/live                 receive
POST /inbox/{ref}/not-same             receive
POST /inbox/{ref}/take                 receive
POST /inbox/{ref}/take-over            receive
GET  /inbox/{ref}/print                receive
POST /inbox/{ref}/print                receive
GET  /inbox/{ref}/download             receive
POST /inbox/{ref}/download             receive
GET  /inbox/{ref}/ask                  receive
POST /inbox/{ref}/ask                  receive
GET  /inbox/{ref}/pass-on              receive
POST /inbox/{ref}/pass-on              receive
GET  /inbox/{ref}/close                receive
POST /inbox/{ref}/close                receive
GET  /inbox/{ref}/keep                 receive
POST /inbox/{ref}/keep                 receive
POST /inbox/{ref}/review               receive
POST /inbox/{ref}/let-go               receive
GET  /search                           lead
POST /search                           lead
GET  /reports                          lead
GET  /reports.json                     lead
GET  /reports.csv                      lead
GET  /reports/areas                    lead
GET  /reports/areas.json               lead
GET  /reports/areas.csv                lead
GET  /admin                            administer
POST /admin/check                      administer
GET  /admin/keys                       administer
GET  /admin/keys.json                  administer
GET  /admin/keys.csv                   administer
GET  /admin/settings                   administer
GET  /admin/settings.json              administer
GET  /admin/settings.csv               administer
GET  /admin/partners                   administer
GET  /admin/partners.json              administer
GET  /admin/partners.csv               administer
GET  /admin/partners/add               administer
POST /admin/partners/add               administer
GET  /admin/invitation                 administer
GET  /admin/words                      administer
GET  /admin/partners/{id}              administer
GET  /admin/partners/{id}.json         administer
GET  /admin/partners/{id}.csv          administer
GET  /admin/partners/{id}/approve      administer
POST /admin/partners/{id}/approve      administer
POST /admin/partners/{id}/test         administer
POST /admin/partners/{id}/suspend      administer
POST /admin/partners/{id}/resume       administer
GET  /admin/partners/{id}/revoke       administer
POST /admin/partners/{id}/revoke       administer
GET  /admin/areas                      administer
GET  /admin/areas.json                 administer
GET  /admin/areas.csv                  administer
GET  /admin/team                       administer
GET  /admin/team.json                  administer
GET  /admin/team.csv                   administer
GET  /admin/team/invite                administer
POST /admin/team/invite                administer
GET  /admin/team/{id}                  administer
GET  /admin/team/{id}/roles            administer
POST /admin/team/{id}/roles            administer
POST /admin/team/{id}/reset            administer
POST /admin/team/{id}/disable          administer
POST /admin/team/{id}/enable           administer
POST /admin/team/{id}/sessions/end     administer
GET  /admin/keeping                    administer
GET  /admin/keeping.json               administer
GET  /admin/keeping.csv                administer
GET  /admin/keeping/{id}               administer
POST /admin/keeping/{id}               administer
GET  /admin/holds                      administer
GET  /admin/holds.json                 administer
GET  /admin/holds.csv                  administer
POST /admin/holds/confirm              administer
POST /admin/holds/release              administer
GET  /admin/audit                      audit
GET  /admin/audit.json                 audit
GET  /admin/audit.csv                  audit
POST /admin/audit/check                audit
GET  /admin/tokens                     connect
GET  /admin/tokens.json                connect
GET  /admin/tokens.csv                 connect
GET  /admin/tokens/new                 connect
POST /admin/tokens/new                 connect
POST /admin/tokens/{id}/end            connect
GET  /admin/webhooks                   connect
GET  /admin/webhooks.json              connect
GET  /admin/webhooks.csv               connect
GET  /admin/webhooks/new               connect
POST /admin/webhooks/new               connect
GET  /admin/webhooks/{id}              connect
GET  /admin/webhooks/{id}.json         connect
GET  /admin/webhooks/{id}.csv          connect
POST /admin/webhooks/{id}/test         connect
POST /admin/webhooks/{id}/resend       connect
POST /admin/webhooks/{id}/switch       connect
POST /admin/webhooks/{id}/keys         connect
GET  /admin/webhooks/{id}/remove       connect
POST /admin/webhooks/{id}/remove       connect
GET  /admin/calls                      connect
GET  /admin/calls.json                 connect
GET  /admin/calls.csv                  connect
POST /passkeys/new                     setting-up
POST /passkeys/made                    setting-up
POST /passkeys/ask                     everybody
POST /passkeys/sign-in                 everybody
POST /passkeys/unlock                  locked
POST /account/passkeys/{id}/remove     signed-in
"""
LISTED = {tuple(line.split()) for line in PAGES.strip().splitlines()}


async def test_every_page_is_listed_with_what_it_needs(house: House) -> None:
    found = {tuple(each) for each in routes_of(house.node.shell().pages)}
    assert found == LISTED


async def test_whoever_is_not_signed_in_is_sent_to_sign_in_or_refused(house: House) -> None:
    stranger = house.stranger()
    for method, path, needs in sorted(LISTED):
        if needs == "everybody":
            continue
        address = path.replace("{id}", "essex-police").replace("{secret}", "x").replace("{ref}", "BR-7KQ2-M9XT")
        answer = await stranger._ask(method, address, follow=False)
        if address.endswith((".json", ".csv")):
            assert answer.status == 401, path
        else:
            assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/sign-in"), path


@pytest.mark.parametrize("role", sorted(ROLES))
async def test_a_role_opens_the_pages_of_its_permissions_and_no_others(house: House, role: str) -> None:
    person = await house.someone(role)
    await person.get("/account")
    may = {str(each) for each in ROLES[role].may}
    for method, path, needs in sorted(LISTED):
        if needs not in {str(each) for each in May}:
            continue
        address = path.replace("{id}", "nobody").replace("{ref}", "BR-7KQ2-M9XT")
        answer = await (person.get(address) if method == "GET" else person.post(address, {"odd": "1"}))
        if needs in may:
            assert answer.status not in {401, 403}, path
        else:
            assert answer.status == 403, path


def test_a_role_that_is_not_known_allows_nothing() -> None:
    assert permissions(["nobody", "", "Administrator"]) == frozenset()


def test_nobody_who_administers_reads_alerts_by_that() -> None:
    assert not ROLES["administrator"].may & {May.SEND, May.RECEIVE, May.LEAD}
