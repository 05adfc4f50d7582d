package control

import (
	"context"
	"maps"
	"slices"

	"holdfast"
	"holdfast/control/strict"
)

// Command is one of the operator's commands, as its doors call it: with JSON.
type Command struct {
	Name    string
	Summary string
	// Run reads the input strictly, runs the command and returns what to answer.
	Run func(ctx context.Context, input []byte) (any, error)
}

// Commands are the operator's commands by name. Whoever calls one has been let
// in as the operator already.
func (c *Control) Commands() map[string]Command {
	out := map[string]Command{}
	for _, cmd := range []Command{
		command("account-create", "Make an account.", c.CreateAccount),
		command("account-set", "Set the facts of an account.", c.SetAccountFacts),
		command("account-list", "List all accounts.", none(c.ListAccounts)),
		command("key-create", "Make an API key; its secret is shown once.", c.CreateAPIKey),
		command("key-list", "List the API keys of an account.", c.ListAPIKeys),
		command("key-revoke", "Revoke an API key.", c.RevokeAPIKey),
		command("operator-key-create", "Make an operator key; its secret is shown once.", c.CreateOperatorKey),
		command("operator-key-list", "List the operator keys.", none(c.ListOperatorKeys)),
		command("operator-key-revoke", "Revoke an operator key.", c.RevokeOperatorKey),
		command("region-create", "Make or change a region.", c.CreateRegion),
		command("region-list", "List all regions.", none(c.ListRegions)),
		command("host-register", "Make or change a host.", c.RegisterHost),
		command("host-enable", "Let a host take work, or keep it from it.", c.EnableHost),
		command("host-list", "List all hosts.", none(c.ListHosts)),
		command("image-import", "Make an OS image known.", c.ImportOSImage),
		command("image-list", "List all OS images.", none(c.ListOSImages)),
		command("vps-create", "Make a VPS from an image and start it.", c.CreateVPS),
		command("vps-list", "List the VPSs of all accounts, or of one.", c.ListAllVPS),
		command("vps-start", "Start a VPS.", c.StartVPS),
		command("vps-stop", "Stop a VPS.", c.StopVPS),
		command("vps-delete", "End a VPS; its backups stay.", c.DeleteVPS),
		command("vps-disk-grow", "Make a disk of a VPS larger.", c.GrowDisk),
		command("vps-disk-add", "Add an empty disk to a stopped VPS.", c.AddDisk),
		command("vps-disk-remove", "Remove a disk of a stopped VPS.", c.RemoveDisk),
		command("backup-list", "List the backups of all accounts, of one, or of a VPS, and where they lie.", c.ListAllBackups),
		command("backup-show", "Show a backup and where it lies.", c.BackupInfo),
		command("snapshot-list", "List the snapshots of all accounts, of one, or of a VPS.", c.ListAllSnapshots),
		command("job-get", "Show an operation.", c.JobInfo),
	} {
		out[cmd.Name] = cmd
	}
	return out
}

// CommandNames lists the names of the commands in order.
func (c *Control) CommandNames() []string { return slices.Sorted(maps.Keys(c.Commands())) }

func command[I, O any](name, summary string, do func(context.Context, I) (O, error)) Command {
	return Command{Name: name, Summary: summary, Run: func(ctx context.Context, input []byte) (any, error) {
		var in I
		if err := Invalid(strict.Object(input, &in)); err != nil {
			return nil, err
		}
		out, err := do(ctx, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}}
}

// none is a command that takes no input.
func none[O any](do func(context.Context) (O, error)) func(context.Context, struct{}) (O, error) {
	return func(ctx context.Context, _ struct{}) (O, error) { return do(ctx) }
}

// ReadObject reads a request's body into the struct that v points to and says
// everything that is wrong with it; see package strict.
func ReadObject(data []byte, v any) []holdfast.Field { return strict.Object(data, v) }
