"""Pages that anybody may read: help, the accessibility statement, how information is used."""

from bridge.web.shell import Answer, Open, Page, Redirect, Visit, local, page
from bridge.web.texts import _


class Help:
    """Texts without a secret in them."""

    @page("GET", "/help", needs=Open.EVERYBODY, summary="Help")
    async def help(self, _visit: Visit) -> Answer:
        """What to do, whom to ring, what the words mean."""
        return Page("help/help.html", _("Help"))

    @page("GET", "/help/accessibility", needs=Open.EVERYBODY, summary="Accessibility statement")
    async def accessibility(self, _visit: Visit) -> Answer:
        """What was tested, what is known not to work, whom to tell."""
        return Page("help/accessibility.html", _("Accessibility statement"))

    @page("GET", "/help/information", needs=Open.EVERYBODY, summary="How information is used")
    async def information(self, _visit: Visit) -> Answer:
        """What is kept, for how long, who sees it."""
        return Page("help/information.html", _("How information is used"))

    @page("POST", "/language", needs=Open.EVERYBODY, summary="Choose in which language pages are")
    async def language(self, visit: Visit) -> Answer:
        """Remembered by the browser, for the languages that this node offers."""
        form = await visit.form("language", "back")
        chosen = form.choice("language", visit.shell.house.languages)
        if chosen:
            visit.speak(chosen)
        return Redirect(local(form.value("back") or "/"))
