package cli

import "github.com/spf13/cobra"

func (a *app) completion() *cobra.Command {
	const withDescriptions = true
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish|powershell",
		Short:     "Print a shell's completion of these commands",
		Example:   "  . <(spawner completion bash)",
		ValidArgs: shells,
		Args:      exactly("the shell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, withDescriptions)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, withDescriptions)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Out)
			}
			return usagef(cmd, "%q is none of %v", args[0], shells)
		},
	}
}
