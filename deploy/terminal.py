"""What a person at a terminal sees. Results go to standard output, everything else to standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table


def messages() -> Console:
    """Return the console of messages: standard error."""
    return Console(stderr=True, highlight=False)


class Steps:
    """Tells what is being fetched: one line that grows on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        """Write to `console`."""
        self._console = console
        self._status = console.status("") if console.is_terminal else None
        self._last = ""

    def __call__(self, sentence: str, share: float | None = None, /) -> None:
        """Show a sentence; with a share of its work done it replaces the one before."""
        if share is None:
            self._stop()
            self._console.print(escape(sentence), soft_wrap=True)
        elif self._status is not None:
            self._status.start()
            self._status.update(f"{escape(sentence)}  {share:.0%}" if share else escape(sentence))
        elif sentence != self._last:
            self._console.print(escape(sentence), soft_wrap=True)
        self._last = sentence

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()


@contextmanager
def steps(console: Console) -> Iterator[Steps]:
    """Show steps while something is prepared, and leave the terminal clean."""
    shown = Steps(console)
    try:
        yield shown
    finally:
        shown._stop()  # noqa: SLF001 - its own room


def banner(console: Console, url: str, facts: list[tuple[str, str]], *, title: str) -> None:
    """Show where the page is, so that nobody misses it, and what is running."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("page", f"[bold cyan][link={url}]{url}[/link][/bold cyan]")
    for name, text in facts:
        table.add_row(name, escape(text))
    if not console.is_terminal:
        # A frame of box characters helps nobody in a log file.
        console.print(f"{title}: {url}", soft_wrap=True)
        for name, text in facts:
            console.print(f"  {name:<10}{escape(text)}", soft_wrap=True)
        return
    console.print(
        Panel(
            table,
            title=f"[bold]{title}[/bold]",
            title_align="left",
            border_style="cyan",
            expand=False,
            padding=(1, 2),
        )
    )
