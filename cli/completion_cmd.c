/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coffer completion: a script for the user's shell. The scripts know no command: they read the --help of
 * what was typed so far, which lists subcommands ("  NAME  what it does") and options ("  --NAME").
 */
#include "cli/completion_cmd.h"

static const char usage[] =
	"usage: coffer completion bash|zsh|fish\n"
	"\n"
	"Prints what makes the shell complete coffer's commands and options. To have it in every "
	"shell:\n"
	"\n"
	"  bash  coffer completion bash > ~/.local/share/bash-completion/completions/coffer\n"
	"  zsh   coffer completion zsh > \"${fpath[1]}/_coffer\"\n"
	"  fish  coffer completion fish > ~/.config/fish/completions/coffer.fish\n";

/* The words that --help offers: "  NAME  what it does" of a command, "--NAME" where a line begins. */
#define OFFERS                                                                                     \
	"sed -nE 's/^  ([a-z0-9][a-z0-9-]*)( .*)?$/\\1/p; s/^ +(-[a-zA-Z], "                       \
	")?(--[a-z0-9-]+).*$/\\2/p'"

static const char bash[] = "_coffer() {\n"
			   "\tlocal cur=${COMP_WORDS[COMP_CWORD]} word path=()\n"
			   "\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
			   "\t\tcase $word in [a-z]*) path+=(\"$word\") ;; *) break ;; esac\n"
			   "\tdone\n"
			   "\tpath=(\"${path[@]:0:3}\")\n"
			   "\tlocal offers\n"
			   "\toffers=$(coffer \"${path[@]}\" --help 2>/dev/null | " OFFERS ")\n"
			   "\tmapfile -t COMPREPLY < <(compgen -W \"$offers\" -- \"$cur\")\n"
			   "}\n"
			   "complete -o default -F _coffer coffer\n";

static const char zsh[] =
	"#compdef coffer\n"
	"_coffer() {\n"
	"\tlocal -a path_ offers\n"
	"\tlocal word\n"
	"\tfor word in ${words[2,CURRENT-1]}; do\n"
	"\t\t[[ $word == [a-z]* ]] || break\n"
	"\t\tpath_+=$word\n"
	"\tdone\n"
	"\toffers=(${(f)\"$(coffer ${path_[1,3]} --help 2>/dev/null | " OFFERS ")\"})\n"
	"\tcompadd -a offers || _files\n"
	"}\n"
	"compdef _coffer coffer\n";

static const char fish[] = "function __coffer_offers\n"
			   "\tset -l path\n"
			   "\tfor word in (commandline -opc)[2..-1]\n"
			   "\t\tstring match -qr '^[a-z]' -- $word; or break\n"
			   "\t\tset -a path $word\n"
			   "\tend\n"
			   "\tcoffer $path[1..3] --help 2>/dev/null | " OFFERS "\n"
			   "end\n"
			   "complete -c coffer -a '(__coffer_offers)'\n";

int cli_completion(int argc, char **argv)
{
	const struct {
		const char *shell, *script;
	} scripts[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

	if (argc == 2 && (cf_streq(argv[1], "--help") || cf_streq(argv[1], "-h"))) {
		fputs(usage, stdout);
		return CLI_OK;
	}
	for (size_t i = 0; argc == 2 && i < CF_ARRAY_LEN(scripts); i++)
		if (cf_streq(argv[1], scripts[i].shell)) {
			fputs(scripts[i].script, stdout);
			return CLI_OK;
		}
	return cli_usage("completion", "one shell: bash, zsh or fish");
}
