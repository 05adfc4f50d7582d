// Package holdfast holds the nouns of Holdfast and the rules that need nothing
// but them: identifiers, errors, scopes, accounts, VPSs, backups, operations,
// gates, quotas and the choice of a Cloud VM's size. It does no I/O and knows
// neither SQL nor HTTP; every other package speaks in its words.
package holdfast
