"""Files that `casemate init` writes, as `string.Template` texts."""
