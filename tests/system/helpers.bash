# helpers.bash -- what the system tests share: a folder of their own, TAP lines, and the law of refusals.
# Sourced with: EBB (the program), MAKE_DATA (writes small data files).
set -u
shopt -s nullglob

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
number=0

# verdict CODE NAME: an command's outcome as a TAP line.
verdict() { # CODE NAME [DIAGNOSTICS]
  number=$((number + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $number - $2"
  else
    echo "not ok $number - $2"
    [ -z "${3-}" ] || printf '%s\n' "$3" | sed 's/^/# /'
  fi
}

check() { # NAME COMMAND...
  local name=$1 said code
  shift
  said=$("$@" 2>&1)
  code=$?
  verdict "$code" "$name" "$said"
}

skip() { # NAME REASON
  number=$((number + 1))
  echo "ok $number - $1 # SKIP $2"
}

listing() { find . -type f ! -name said -printf '%p %s\n' | sort; }

# refuses NAME CODE WORDS... -- COMMAND...: the exit code is CODE, standard error says all WORDS, no file is written or
# changed in size.
refuses() {
  local name=$1 code=$2 words=() before got trouble=''
  shift 2
  while [ "$1" != -- ]; do words+=("$1"); shift; done
  shift
  before=$(listing)
  "$@" > /dev/null 2> said
  got=$?
  [ "$got" -eq "$code" ] || trouble="exit code $got, expected $code"
  for word in "${words[@]}"; do
    grep -qF -- "$word" said || trouble="$trouble; does not say '$word'"
  done
  [ "$(listing)" = "$before" ] || trouble="$trouble; files were written: $(listing)"
  if [ -z "$trouble" ]; then verdict 0 "$name"; else verdict 1 "$name" "$trouble"$'\n'"$(cat said)"; fi
}

finish() { echo "1..$number"; }
