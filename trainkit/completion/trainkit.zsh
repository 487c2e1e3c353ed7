# Completes trainkit in zsh:  eval "$(trainkit --completion zsh)"
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
_trainkit() {
    local program=${words[1]/#\~/$HOME}
    local -a answers open closed
    answers=("${(@f)$("$program" --complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2> /dev/null)}")
    open=(${(M)answers:#*[=./,]})
    closed=(${answers:#*[=./,]})
    (( $#open )) && compadd -S '' -a open
    (( $#closed )) && compadd -a closed
}
compdef _trainkit trainkit
