#!/bin/sh
# The client of lab.toml: races until the sites are ready, then ten times.
until target/debug/selvedge receiver race --master "$1:7700" --path /lab.md >/dev/null 2>&1; do
    sleep 0.5
done
target/debug/selvedge receiver race --master "$1:7700" --path /lab.md --rounds 10
