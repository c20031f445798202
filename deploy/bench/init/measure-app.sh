#!/bin/sh
# The user's process of both guests: first of all it says when it began and what was left for it.
read -r up idle </proc/uptime
while read -r name kb unit; do
  case $name in MemAvailable:) available=$kb ;; esac
done </proc/meminfo
while read -r name kb unit; do
  case $name in RssAnon:) anonymous=$kb ;; esac
done </proc/1/status
read -r limit </sys/fs/cgroup/user/app/memory.max
echo "godwit-bench: spawned_s=$up available_kb=$available init_rss_anon_kb=$anonymous app_limit_bytes=$limit" >/dev/ttyS0
echo >/run/measured
exec sleep 1000
