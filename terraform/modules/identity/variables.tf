variable "prefix" {
  description = "Prefix of the roles' names."
  type        = string
  default     = "hallmark"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.prefix))
    error_message = "prefix: 3 to 22 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "github_provider_arn" {
  description = "The IAM OIDC provider of GitHub Actions, if the account has it already: there can be one. Null makes it."
  type        = string
  default     = null

  validation {
    condition     = var.github_provider_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.github_provider_arn))
    error_message = "github_provider_arn: arn:aws:iam::ACCOUNT:oidc-provider/token.actions.githubusercontent.com."
  }
}

variable "releases" {
  description = <<-T
    Who may push what, a role for each: one repository on GitHub, one ref or environment of it, one workflow, one
    repository in ECR. The numbers are GitHub's: gh api repos/OWNER/NAME --jq '.owner.id, .id'. A name can be given up
    and taken by somebody else; a number cannot.
  T
  type = map(object({
    owner              = string
    owner_id           = number
    repository         = string
    repository_id      = number
    ref                = optional(string)
    environment        = optional(string)
    workflow           = string
    ecr_repository_arn = string
  }))

  validation {
    condition     = alltrue([for k in keys(var.releases) : can(regex("^[a-z0-9][a-z0-9-]{0,29}$", k))])
    error_message = "releases: a key is part of a role's name, at most 30 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}$", r.owner)) && can(regex("^[A-Za-z0-9._-]{1,100}$", r.repository))])
    error_message = "releases: owner and repository are names on GitHub, apart: acme and app."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : r.owner_id > 0 && r.repository_id > 0 && r.owner_id == floor(r.owner_id) && r.repository_id == floor(r.repository_id)])
    error_message = "releases: owner_id and repository_id are GitHub's numbers."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : (r.ref == null) != (r.environment == null)])
    error_message = "releases: give ref or environment, one of them. Tags differ each time, so releases by tag need an environment, protected on GitHub."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : r.ref == null || can(regex("^refs/(heads|tags)/[A-Za-z0-9._/+-]+$", r.ref))])
    error_message = "releases: ref is a full name without patterns, such as refs/heads/main."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : r.environment == null || can(regex("^[A-Za-z0-9._-]{1,255}$", r.environment))])
    error_message = "releases: environment is the name of one, without patterns."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+/\\.github/workflows/[A-Za-z0-9._-]+\\.ya?ml@([0-9a-f]{40}|refs/(heads|tags)/[A-Za-z0-9._/+-]+)$", r.workflow))])
    error_message = "releases: workflow is OWNER/NAME/.github/workflows/FILE@REF, where REF is what stands after the @ of uses:, a commit best, or refs/heads/NAME or refs/tags/NAME."
  }
  validation {
    condition     = alltrue([for r in values(var.releases) : can(regex("^arn:aws[a-z-]*:ecr:[a-z0-9-]+:[0-9]{12}:repository/[a-z0-9][a-z0-9._/-]*$", r.ecr_repository_arn))])
    error_message = "releases: ecr_repository_arn is the ARN of one repository, without patterns."
  }
}

variable "cluster" {
  description = "The cluster whose Kyverno and hallmark read images and evidence. Null makes no roles for pods."
  type = object({
    name = string
    arn  = string
  })
  default = null

  validation {
    condition     = var.cluster == null || can(regex("^arn:aws[a-z-]*:eks:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+$", var.cluster.arn))
    error_message = "cluster: name and ARN of one cluster, without patterns."
  }
}

variable "readable_repository_arns" {
  description = "Repositories in ECR that Kyverno and hallmark may read; in general those that something running comes from."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.readable_repository_arns : can(regex("^arn:aws[a-z-]*:ecr:[a-z0-9-]+:[0-9]{12}:repository/[a-z0-9][a-z0-9._/-]*$", arn))])
    error_message = "readable_repository_arns: ARNs of repositories, each without patterns."
  }
  validation {
    condition     = var.cluster == null || length(var.readable_repository_arns) > 0
    error_message = "readable_repository_arns: with a cluster, at least one: a door that can read nothing refuses everything."
  }
}

variable "readers" {
  description = "The service accounts that may read, for charts that were installed under other names. Kyverno reads at admission and, in its reports controller, in background scans. There are these two and no others."
  type = object({
    kyverno = optional(object({ namespace = string, service_accounts = list(string) }),
    { namespace = "kyverno", service_accounts = ["kyverno-admission-controller", "kyverno-reports-controller"] })
    hallmark = optional(object({ namespace = string, service_accounts = list(string) }),
    { namespace = "hallmark", service_accounts = ["hallmark"] })
  })
  default = {}

  validation {
    condition     = alltrue([for r in values(var.readers) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", r.namespace)) && length(r.service_accounts) > 0])
    error_message = "readers: a namespace's name, without patterns, and at least one service account."
  }
  validation {
    condition     = alltrue(flatten([for r in values(var.readers) : [for s in r.service_accounts : can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", s))]]))
    error_message = "readers: service accounts are names, without patterns."
  }
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
