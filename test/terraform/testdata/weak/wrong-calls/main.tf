module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "~> 6.0" # want: module terraform-aws-modules/vpc/aws is not pinned to 6.6.0, the version its arguments are known of

  name        = "proof"
  enable_nats = true # want: module terraform-aws-modules/vpc/aws has no variable enable_nats
}

module "role" {
  source  = "terraform-aws-modules/iam/aws//modules/iam-role" # want: module terraform-aws-modules/iam/aws//modules/iam-role is not among those known here: its policies and arguments cannot be judged
  version = "6.5.0"

  enable_github_oidc = true
}

module "local" { # want: module ./part is not given needed, which is required
  source = "./part"
}

output "id" { # want: output id has no description
  value = [module.vpc.vpc_idd, module.local.nothing] # want: module.local has no output nothing | module.vpc has no output vpc_idd; did you mean vpc_id?
}

variable "anything" { # want: variable anything has no description | variable anything takes anything: it has no validation
  type = string
}

variable "untyped" { # want: variable untyped has no type
  description = "Something."
}
