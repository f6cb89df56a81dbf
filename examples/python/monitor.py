"""A monitor of your own: counts votes by choice, each exactly once.

Selvedge streams the fleet's entries as JSON lines. Each line holds a cursor; whoever gives the
last one back gets what follows. This program keeps its counts and the cursor in one SQLite
transaction, so neither its own death nor that of the server it asks makes it miss a vote or count
one twice. Standard library only.

    python3 monitor.py http://127.0.0.1:8090 votes.db
"""

import json
import sqlite3
import sys
import time
import urllib.parse
import urllib.request

FILTER = 'direction = inbound and service = content and action = "POST /vote" and outcome = ok'
PATH = "/api/v1/entries"
# A stream that says nothing at all for so many seconds is dead: a living one sends empty lines.
SILENCE = 40


def open_database(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS votes (choice TEXT PRIMARY KEY, count INTEGER)")
    database.execute("CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY, cursor TEXT)")
    return database


def cursor_of(database):
    row = database.execute("SELECT cursor FROM place").fetchone()
    return row[0] if row else None


def total(database):
    return database.execute("SELECT SUM(count) FROM votes").fetchone()[0]


def question(base, cursor):
    asked = {"filter": FILTER}
    if cursor is None:
        asked["from"] = "oldest"
    else:
        asked["cursor"] = cursor
    return f"{base}{PATH}?{urllib.parse.urlencode(asked)}"


def follow(base, database):
    """Reads the stream until it ends."""
    with urllib.request.urlopen(question(base, cursor_of(database)), timeout=SILENCE) as stream:
        for line in stream:
            if not line.strip():
                continue
            told = json.loads(line)
            database.execute("BEGIN IMMEDIATE")
            if "entry" in told:
                choice = told["entry"]["request"]["body"]["choice"]
                database.execute(
                    "INSERT INTO votes VALUES (?, 1)"
                    " ON CONFLICT (choice) DO UPDATE SET count = count + 1",
                    (choice,),
                )
            database.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (told["cursor"],))
            database.execute("COMMIT")
            if "entry" in told:
                print("counted", total(database), flush=True)
            if "gap" in told:
                print("entries were lost:", told["gap"], file=sys.stderr, flush=True)


def main():
    base, path = sys.argv[1].rstrip("/"), sys.argv[2]
    database = open_database(path)
    print("monitor follows", base, flush=True)
    while True:
        try:
            follow(base, database)
        except OSError as error:
            print("stream ended:", error, file=sys.stderr, flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
