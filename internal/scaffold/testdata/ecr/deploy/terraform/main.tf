# The ECR repository of Acme/App.Server and the role its release workflow takes. Written by hallmark init.

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
  region = "eu-central-1"

  # Not in another account by mistake: hallmark.yaml and the workflow name this one.
  allowed_account_ids = ["111122223333"]
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
  source = "git::https://github.com/hallmark-sh/hallmark.git//terraform/modules/registry?ref=0123456789abcdef0123456789abcdef01234567"

  repositories = ["acme/app"]
}

module "identity" {
  source = "git::https://github.com/hallmark-sh/hallmark.git//terraform/modules/identity?ref=0123456789abcdef0123456789abcdef01234567"

  github_provider_arn = var.github_provider_arn
  releases = {
    "app-server" = {
      owner              = "Acme"
      owner_id           = 1001
      repository         = "App.Server"
      repository_id      = 2002
      ref                = "refs/heads/release/2.x"
      workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
      ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
    }
  }
}

output "release_role_arn" {
  description = "What the release workflow gives as aws-role."
  value       = module.identity.release_role_arns["app-server"]
}

output "image" {
  description = "The image of hallmark.yaml."
  value       = module.registry.repositories["acme/app"].url
}
