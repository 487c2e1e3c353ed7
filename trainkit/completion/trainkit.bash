# Completes trainkit in bash, 3.2 and newer:  eval "$(trainkit --completion bash)"
# bash breaks words at = and :, so the line is split here, and what bash will keep is cut off each answer.
_trainkit() {
    local before="${COMP_LINE:0:COMP_POINT}" breaks="${COMP_WORDBREAKS//[^=:]/}" kept="" is_quoted="" current answer
    local -a words
    read -a words <<< "${before#*"${COMP_WORDS[0]}"}"
    [[ "$before" == *[[:space:]] && "$before" != *\\[[:space:]] ]] && words+=("")
    current="${words[${#words[@]} - 1]}"
    if [[ "$current" == *[\"\']* ]]; then
        is_quoted=1
    elif [[ -n "$breaks" ]]; then
        kept="${current%"${current##*[$breaks]}"}"
    fi
    COMPREPLY=()
    while IFS= read -r answer; do
        answer="${answer#"$kept"}"
        if [[ -z "$is_quoted" ]]; then
            answer="${answer// /\\ }"
            [[ "$answer" == *[=./,] ]] || answer="$answer "
        fi
        COMPREPLY+=("$answer")
    done < <("${COMP_WORDS[0]/#\~/$HOME}" --complete "${words[@]//[\"\']/}" 2> /dev/null)
}
complete -o nospace -F _trainkit trainkit
