# To be sourced: has uv look for packages where pip does.
# shellcheck shell=sh

pip_setting() { pip config get "global.$1" 2>/dev/null | tr -s ' \n' "$2" || true; }

# uv does not read pip's configuration, so it is told where pip looks, unless it has been told
# already. Taking a file from whichever place has it is safe where a lock says what its hash must be.
tell_uv() {
    if [ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_INDEX:-}${UV_FIND_LINKS:-}" ]; then
        return
    fi
    index=${PIP_INDEX_URL:-$(pip_setting index-url ' ')}
    more=${PIP_EXTRA_INDEX_URL:-$(pip_setting extra-index-url ' ')}
    links=${PIP_FIND_LINKS:-$(pip_setting find-links ,)}
    if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
    if [ -n "$more" ]; then export UV_INDEX="$more"; fi
    if [ -n "$links" ]; then export UV_FIND_LINKS="${links%,}"; fi
    export UV_INDEX_STRATEGY=unsafe-best-match
}
