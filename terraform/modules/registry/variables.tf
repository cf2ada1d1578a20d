variable "repositories" {
  description = "Names of the repositories, without the registry: one for each image."
  type        = set(string)

  validation {
    condition     = length(var.repositories) > 0 && alltrue([for r in var.repositories : length(r) >= 2 && length(r) <= 256 && can(regex("^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$", r))])
    error_message = "repositories: at least one; lower-case names such as acme/app."
  }
}

variable "keep_days" {
  description = "Days after its push from which an image that has never run may be expired. One that has run carries a tag ran-… and is never expired."
  type        = number
  default     = 90

  validation {
    condition     = var.keep_days >= 30 && var.keep_days == floor(var.keep_days)
    error_message = "keep_days: a whole number, 30 or more: what was pushed must have had time to run and to be marked."
  }
}

variable "replica_regions" {
  description = "Other regions that get a copy of each image with its evidence. Replication is one setting for the whole registry: set it from one root only."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.replica_regions) <= 25 && alltrue([for r in var.replica_regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", r))])
    error_message = "replica_regions: at most 25 names of regions, such as eu-west-1."
  }
}

variable "cosign_2_evidence" {
  description = "UNSAFE unless evidence in cosign 2's form must live here: lets tags sha256-… be moved, and nothing else."
  type        = bool
  default     = false
}

variable "key_deletion_days" {
  description = "Days between asking for the key's deletion and its end. Without the key no image can be pulled."
  type        = number
  default     = 30

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30
    error_message = "key_deletion_days: 7 to 30."
  }
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
