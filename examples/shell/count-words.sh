#!/bin/sh
# Counts the words of a text: a command that Longshore's worker runs for each job. The job's args come on standard input, the
# result goes to standard output, what is said on standard error is kept as the job's log.
#
#   echo '{"file": "containers.md"}' | TEXTS=docs ./count-words.sh
set -eu
LC_ALL=C
export LC_ALL

# 65 says that trying again is of no use.
discard() {
  echo "$1" >&2
  exit 65
}

file=$(jq -er '.file | strings') || discard 'the args must be such as {"file": "containers.md"}'
texts=$(realpath "$TEXTS")
path=$(realpath -m "$texts/$file")
case $path in "$texts"/*) ;; *) discard "there is no such text: $file" ;; esac
[ -f "$path" ] || discard "there is no such text: $file"
echo "counting $file, attempt $LONGSHORE_JOB_ATTEMPT" >&2

# The worker has given this attempt a folder of its own, and stands in it.
tr -cs 'A-Za-z' '\n' <"$path" | tr 'A-Z' 'a-z' | sed '/^$/d' | sort | uniq -c | sort -k1,1nr -k2,2 >counted

jq -cR -n --arg file "$file" --argjson bytes "$(wc -c <"$path")" --argjson lines "$(wc -l <"$path")" '
  [inputs | capture("^ *(?<n>[0-9]+) (?<word>.*)$") | [.word, (.n | tonumber)]] as $counted
  | {$file, $bytes, $lines, words: ([$counted[][1]] | add // 0), distinct: ($counted | length), top: $counted[:5]}' counted
