"""What the three tasks are made of, as a table: the ways to say something, and the one right answer to it.

A slot is `{kind}` or `{kind2}` of vocabulary.py. Every slot of a reference occurs in each way of putting the prompt,
so the answer can always be read off the prompt; the prompt's other slots are there to be left out. Nearly every slot
follows a space: a word at a line's start has other tokens, and copying from those is what so small a model learns last.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Task = Literal["rewrite", "summarize", "draft"]
TASKS: Final[tuple[Task, ...]] = ("rewrite", "summarize", "draft")


class Intent(NamedTuple):
    """`pieces`: parts of the prompt, each with equivalent phrasings; `reference`: the one right answer."""

    task: Task
    pieces: tuple[tuple[str, ...], ...]
    reference: str


class Layout(NamedTuple):
    """How a prompt is put together: a cue, the pieces (those of the slice `shuffled` in any order), an aside."""

    cues: tuple[str, ...]
    separator: str
    shuffled: slice
    asides: tuple[str, ...]


LAYOUTS: Final[dict[Task, Layout]] = {
    "rewrite": Layout(
        cues=("Rewrite this note politely: ", "Make this sound polite: ", "Rewrite in a friendly tone: "),
        separator=" ",
        shuffled=slice(0, 0),
        asides=("", "", "seriously.", "not ok.", "come on.", "asap!", "this is getting old."),
    ),
    "summarize": Layout(
        cues=("Summarize in one line: ", "Give me the key point: ", "Sum this up in one line: "),
        separator=" ",
        shuffled=slice(None),
        asides=("", "Lunch was good.", "Thanks to all who joined.", "The room was cold.", "More next week."),
    ),
    "draft": Layout(
        cues=("Draft a short mail:\n- ", "Write a short mail from these points:\n- ", "Turn this into a mail:\n- "),
        separator="\n- ",
        shuffled=slice(1, -1),
        asides=("",),
    ),
}

_REWRITES: Final = (
    Intent(
        "rewrite",
        (
            (
                "{name}, where is the {project} {item}? {name2} needs it {day} by {time}.",
                "hey {name} send {name2} the {project} {item}, {day} {time} latest.",
                "{name2} needs that {project} {item} {day} before {time}, {name}.",
            ),
        ),
        "Hello {name}, could you please send {name2} the {project} {item} by {time} on {day}? Thank you.",
    ),
    Intent(
        "rewrite",
        (
            (
                "{name} you still owe {name2} the {project} {item}, {count} days now. get it done {day}.",
                "{name2} waits {count} days for the {project} {item} now, {name}. we want it {day}.",
                "{count} days and no {project} {item} for {name2}, {name}! {day} or never.",
            ),
        ),
        "Hi {name}, {name2} asked for the {project} {item} {count} days ago. Could you kindly share it by {day}?",
    ),
    Intent(
        "rewrite",
        (
            (
                "no way {name}, cant do the {project} {meeting} {day} at {time}. make it {day2}.",
                "{name} forget {day} {time} for the {project} {meeting}, {day2} or nothing.",
                "not coming to your {project} {meeting} {day} {time}, {name}. move it to {day2}.",
            ),
        ),
        "Hi {name}, I am afraid I cannot join the {project} {meeting} on {day} at {time}. Would {day2} suit you?",
    ),
    Intent(
        "rewrite",
        (
            (
                "{name} page {count} of the {project} {item} is wrong, fix it before {time}.",
                "who wrote page {count} of the {project} {item}? {name}, redo it till {time}.",
                "{project} {item} page {count} is a mess, {name}. sort it out by {time}.",
            ),
        ),
        "Dear {name}, page {count} of the {project} {item} needs a correction. Could you please update it by {time}?",
    ),
)

_SUMMARIES: Final = (
    Intent(
        "summarize",
        (
            (
                "We moved the {project} {item} from {date} to {date2} because of {reason}.",
                "Because of {reason} the {project} {item} slips from {date} to {date2}.",
            ),
            ("{name} told us, and {name2} owns it now.", "{name2} took it over from {name}."),
        ),
        "The {project} {item} moved to {date2} due to {reason}, owner {name2}.",
    ),
    Intent(
        "summarize",
        (
            (
                "{name} asked for {amount} EUR for the {project} {item}, we approved {amount2} EUR.",
                "For the {project} {item} we approved {amount2} EUR, not the {amount} EUR {name} wanted.",
            ),
            ("{name2} reports back on {day}.", "On {day} we hear from {name2}."),
        ),
        "The {project} {item} gets {amount2} EUR, {name2} reports on {day}.",
    ),
    Intent(
        "summarize",
        (
            (
                "{project} was down for {count} minutes on {day} after {reason}.",
                "After {reason} on {day}, {project} was gone for {count} minutes.",
            ),
            ("{count2} users called and {name} is on it.", "{name} is on it, we had {count2} calls from users."),
        ),
        "Outage of {project} for {count} minutes on {day} due to {reason}, {count2} users affected, {name} is on it.",
    ),
    Intent(
        "summarize",
        (
            (
                "In the {project} {meeting} {name} promised the {item} by {date}.",
                "{name} will finish the {item} by {date}, as we said in the {project} {meeting}.",
            ),
            ("{name2} tests {count} cases by {day}.", "By {day} {name2} will test {count} cases."),
        ),
        "For {project}, {name} finishes the {item} by {date} and {name2} tests {count} cases by {day}.",
    ),
)

_DRAFTS: Final = (
    Intent(
        "draft",
        (
            ("to {name}", "for {name}"),
            ("{project} {meeting}", "invite to {project} {meeting}"),
            ("{day} {time}", "{day} at {time}"),
            ("room {room}", "in room {room}"),
            ("from {name2}", "signed {name2}"),
        ),
        "Hi {name}, please join us for the {project} {meeting} on {day} at {time} in room {room}. "
        "Best regards, {name2}",
    ),
    Intent(
        "draft",
        (
            ("to {name}", "for {name}"),
            ("{project} is {count}% done", "{project} progress {count}%"),
            ("{item} next, {date}", "{item} due {date}"),
            ("from {name2}", "signed {name2}"),
        ),
        "Hi {name}, {project} is now {count}% complete. The {item} will follow on {date}. Best regards, {name2}",
    ),
    Intent(
        "draft",
        (
            ("to {name}", "for {name}"),
            ("order {count} {goods}", "need {count} {goods}"),
            ("limit {amount} EUR", "max {amount} EUR"),
            ("deliver by {date}", "until {date}"),
            ("from {name2}", "signed {name2}"),
        ),
        "Hi {name}, we would like to order {count} {goods} for up to {amount} EUR. Please deliver by {date}. "
        "Best regards, {name2}",
    ),
    Intent(
        "draft",
        (
            ("to {name}", "for {name}"),
            ("{item} late, {reason}", "delay of {item}, {reason}"),
            ("new date {date}", "now {date}"),
            ("from {name2}", "signed {name2}"),
        ),
        "Hi {name}, the {item} is delayed due to {reason}. The new date is {date}. Best regards, {name2}",
    ),
)

INTENTS: Final[dict[Task, tuple[Intent, ...]]] = {"rewrite": _REWRITES, "summarize": _SUMMARIES, "draft": _DRAFTS}
