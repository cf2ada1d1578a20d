# The ECR repository of {{.Repository}} and the role its release workflow takes. Written by hallmark init.

terraform {
  required_version = ">= 1.9.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.28.0, < 7.0.0"
    }
  }

  # Fill in at init: terraform init -backend-config=state.hcl
  backend "s3" {
    use_lockfile = true
    encrypt      = true
  }
}

provider "aws" {
  region = "{{.ECR.Region}}"

  # Not in another account by mistake: hallmark.yaml and the workflow name this one.
  allowed_account_ids = ["{{.ECR.Account}}"]
}

variable "github_provider_arn" {
  description = "The IAM OIDC provider of GitHub Actions, where the account has it already: there can be one. Null makes it."
  type        = string
  default     = null

  validation {
    condition     = var.github_provider_arn == null || try(endswith(var.github_provider_arn, ":oidc-provider/token.actions.githubusercontent.com"), false)
    error_message = "github_provider_arn: arn:aws:iam::ACCOUNT:oidc-provider/token.actions.githubusercontent.com."
  }
}

module "registry" {
  source = "git::https://github.com/hallmark-sh/hallmark.git//terraform/modules/registry?ref={{.Hallmark}}"

  repositories = ["{{.ECR.Name}}"]
}

module "identity" {
  source = "git::https://github.com/hallmark-sh/hallmark.git//terraform/modules/identity?ref={{.Hallmark}}"

  github_provider_arn = var.github_provider_arn
  releases = {
    "{{.ECR.Key}}" = {
      owner              = "{{.Owner}}"
      owner_id           = {{.OwnerID}}
      repository         = "{{.Name}}"
      repository_id      = {{.RepositoryID}}
      ref                = "{{.Ref}}"
      workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@{{.Hallmark}}"
      ecr_repository_arn = "arn:{{.ECR.Partition}}:ecr:{{.ECR.Region}}:{{.ECR.Account}}:repository/{{.ECR.Name}}"
    }
  }
}

output "release_role_arn" {
  description = "What the release workflow gives as aws-role."
  value       = module.identity.release_role_arns["{{.ECR.Key}}"]
}

output "image" {
  description = "The image of hallmark.yaml."
  value       = module.registry.repositories["{{.ECR.Name}}"].url
}
