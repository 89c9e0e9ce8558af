"""manage.py gatecast_keys: the sections [authn.django], [authn.token] and [authn.jwt] of config.toml for this project."""

import json
import re

from django.core.management.base import BaseCommand

from gatecast.django.project import Project

KEYS = ("session_key", "cookie_key", "hash_key", "ticket_key")


class Command(BaseCommand):
    help = "Print the derived keys and the settings that a Gatecast node needs to verify this project's logins, as sections of its config.toml. SECRET_KEY is not in them."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--with-database-password", action="store_true", help="print the real passwords of the database and the cache instead of a placeholder")
        parser.add_argument("--legacy-sha1", action="store_true", help="print the keys for sessions that Django before 3.1 signed with SHA-1, too")

    def handle(self, *args, with_database_password=False, legacy_sha1=False, **options):
        project = Project(with_database_password, legacy_sha1)
        for line in render(project):
            self.stdout.write(line)
        for note in project.notes:
            self.stderr.write(self.style.WARNING("gatecast_keys: " + note))


def render(project):
    """Lines of TOML."""
    yield "# Made by manage.py gatecast_keys. The keys are secrets: whoever has them can forge sessions of this site, though not its other signatures."
    for note in project.notes:
        yield comment("NOTE: " + note)
    yield "[authn.django]"
    yield from pairs(project.values, project.comments)
    for keys in project.fallbacks:
        yield ""
        yield "[[authn.django.fallbacks]]"
        for key in KEYS:
            yield "%s = %s" % (key, toml(keys[key]))
    if project.tokens:
        yield ""
        yield comment('the tokens of this project count when "token" is in authn.chain')
        yield "[authn.token]"
        yield from pairs(project.tokens, {})
    if project.jwt.values:
        yield ""
        yield comment('the tokens of SimpleJWT count when "jwt" is in authn.chain, and are looked for where authn.carriers says: "header", "cookie"')
        yield "[authn.jwt]"
        yield from pairs(project.jwt.values, project.jwt.comments)


def pairs(values, comments):
    for key, value in values.items():
        if key in comments:
            yield comment(comments[key])
        yield "%s = %s" % (key, toml(value))


def toml(value):
    """JSON's strings and lists of strings are TOML's too, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def comment(text):
    return "# " + re.sub(r"[\x00-\x1f\x7f]", " ", text)
