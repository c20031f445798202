-- How a release's machines run (MachineSettings of control/contract/machine.ts); what is missing is the default.

ALTER TABLE releases ADD COLUMN machine jsonb NOT NULL DEFAULT '{}';
