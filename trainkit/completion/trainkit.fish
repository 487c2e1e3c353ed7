# Completes trainkit in fish:  trainkit --completion fish | source
function __trainkit_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string replace -r '^["\']' '')
    set -l program (string replace -r '^~' $HOME -- $words[1])
    set -e words[1]
    $program --complete $words "$current" 2>/dev/null
end
complete -c trainkit -f -a '(__trainkit_complete)'
