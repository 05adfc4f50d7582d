package main

import (
	"fmt"
	"net/url"
	"os"
	"slices"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	c := group("config", "Look at the configuration")
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the settings in force, secrets masked",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			for _, s := range cfg.settings() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), s); err != nil {
					return err
				}
			}
			return nil
		},
	}
	configFlags(show.Flags())
	c.AddCommand(show)
	return c
}

// settings are all settings as name=value, sorted.
func (c *config) settings() []string {
	k := koanf.New(".")
	for name, value := range c.values {
		_ = k.Set(name, value) // plain values cannot fail
	}
	for name, value := range map[string]string{
		"database": c.Database, "master_key": c.MasterKey, "site": c.Site,
		"host.machines": c.Host.Machines, "host.run": c.Host.Run, "host.scratch": c.Host.Scratch,
	} {
		_ = k.Set(name, value)
	}
	var out []string
	for name, value := range k.All() {
		out = append(out, fmt.Sprintf("%s=%s", name, masked(fmt.Sprint(value))))
	}
	slices.Sort(out)
	return out
}

// masked hides a password in a URL; no other setting holds a secret.
func masked(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.User == nil {
		return value
	}
	return u.Redacted()
}
